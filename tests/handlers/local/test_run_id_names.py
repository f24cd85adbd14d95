"""Any run id: no path outside the directory, no two ids in one file, and every id is read back."""

from __future__ import annotations

import os
import string
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aiocheckpoint import InvalidValueError, LocalStateHandler
from aiocheckpoint._model.checks import joins_in_json

QUIET = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LONGEST_NAME = 255
PATHS = ["checkpoint.pkl", "checkpoint", ".hidden", "a.b.c", "c.lock", "c.tmp", "UPPER.Pkl"]

ODD = [
    *("../x", "..", "/etc/passwd", "a/b", "a\\b", "C:x", "\\\\host\\x", "~", "~root", "$HOME"),
    *("nul\0", "new\nline", "\r", "\t", " ", "  ", ".", "*", "?", "[a]", "-rf", "<>|\"'", "%00"),
    *("CON", "con", "NUL.txt", "com1", "A", "a", "%41", "%", "%2F", "lock", "pkl.lock", "tmp"),
    *("é", "e\u0301", "ﬁ", "fi", "ß", "ss", "ẞ", "İ", "i", "\u0131", "K", "\u212a", "Å", "\u212b"),
    *("\ud800", "\udfff", "\ude00\ud83d", "😀", "\ufeff", "\u200b", "\u202e", "x" * 300),
    *("x" * 301, "ä" * 40, "ä" * 41, "x" * 119, "x" * 120, "x" * 121, "~" + "0" * 64, "0" * 64),
]
IDS = st.one_of(
    st.text(st.characters(exclude_categories=()), min_size=1, max_size=30),
    st.text(st.characters(exclude_categories=()), min_size=1, max_size=400),
    st.text(string.ascii_letters + "%.-_~/\\", min_size=1, max_size=8),
    st.text("aA%2fF.lock", min_size=1, max_size=8),
    st.sampled_from(ODD),
).filter(lambda run_id: not joins_in_json(run_id))


def folded(path: str) -> set[str]:
    """Return the names that file systems may treat as equal to this one."""
    forms = {path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path)}
    return forms | {form.casefold() for form in forms} | {form.upper() for form in forms}


@QUIET
@given(IDS, st.sampled_from(PATHS))
def test_names_stay_in_the_directory(run_id: str, path: str) -> None:
    """An id adds a plain, printable, short name to the checkpoint's directory."""
    located = LocalStateHandler(f"/place/{path}").locate(run_id)
    name = os.path.basename(located)  # noqa: PTH119
    assert os.path.dirname(located) == "/place"  # noqa: PTH120
    assert name.isascii()
    assert name.isprintable()
    assert len(name) <= LONGEST_NAME - len(".0123456789abcdef.tmp") - 1
    assert not set(name) & set("/\\:*?\"<>|$'` \n\0")
    assert located != f"/place/{path}"


@QUIET
@given(IDS, IDS, st.sampled_from(PATHS))
@example("A", "a", "c.pkl")
@example("é", "e\u0301", "c.pkl")
@example("x" * 300, "x" * 301, "c.pkl")
@example("%41", "A", "c.pkl")
@example("lock", "a.lock", "c")
def test_no_two_ids_share_a_file(one: str, other: str, path: str) -> None:
    """Two ids have two files, also with case folding and Unicode normalisation, as has no id."""
    handler = LocalStateHandler(f"/place/{path}")
    paths = [handler.locate(run_id) for run_id in (one, other, None)]
    if one != other:
        assert not folded(paths[0]) & folded(paths[1])
    assert not folded(paths[2]) & (folded(paths[0]) | folded(paths[1]))


@QUIET
@given(IDS, IDS, st.sampled_from(PATHS))
@example("lock", "a", "c")
@example("lock", "a", "c.lock")
@example("a", "lock", "c.lock")
@example("pkl", "lock", "c")
def test_runs_leave_each_other_alone(one: str, other: str, path: str) -> None:
    """Each run stores, locks and cleans up its own files only, and reads its own state back."""
    with tempfile.TemporaryDirectory() as place:
        handler = LocalStateHandler(Path(place) / "in" / path, fsync=False)
        owners = {None: "nobody", one: "one", other: "other"}
        for run_id, owner in owners.items():
            handler.write({"who": owner}, run_id)
        for run_id in owners:
            lock = handler.lock(run_id)
            lock.acquire()
            lock.release()
        for run_id, owner in owners.items():
            assert handler.read(run_id)["who"] == owner
            header = handler.header(run_id)
            assert header is not None
            assert header.run_id == run_id
        assert os.listdir(place) == ["in"]  # noqa: PTH208
        assert len(os.listdir(Path(place) / "in")) == len(owners)  # noqa: PTH208


def test_odd_ids_all_at_once(tmp_path: Path) -> None:
    """All odd ids live side by side, and every one is removed alone."""
    handler = LocalStateHandler(tmp_path / "in" / "c", fsync=False)
    for number, run_id in enumerate(ODD):
        handler.write({"n": number}, run_id)
    assert [handler.read(run_id)["n"] for run_id in ODD] == list(range(len(ODD)))
    for number, run_id in enumerate(ODD):
        handler.remove(run_id)
        assert handler.read(run_id) == {}
        assert len(list((tmp_path / "in").iterdir())) == len(ODD) - number - 1
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("length", [1, 39, 40, 41, 119, 120, 121, 255, 256, 1_000])
def test_long_ids(length: int, tmp_path: Path) -> None:
    """An id of any length up to 1,000 has a file, and the header holds the whole id."""
    handler = LocalStateHandler(tmp_path / "checkpoint.pkl", fsync=False)
    for letter in ("x", "ä", "/"):
        handler.write({"a": 1}, letter * length)
        header = handler.header(letter * length)
        assert header is not None
        assert header.run_id == letter * length
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("length", [1_001, 10_000, 1_000_000])
def test_longer_ids(length: int, tmp_path: Path) -> None:
    """A longer id is refused with its length and a remedy, and no file is made."""
    handler = LocalStateHandler(tmp_path / "in" / "checkpoint.pkl", fsync=False)
    for letter in ("x", "ä"):
        with pytest.raises(InvalidValueError, match=f"{length} characters.*SHA-256") as info:
            handler.write({"a": 1}, letter * length)
        assert len(str(info.value)) < 200
    assert list(tmp_path.iterdir()) == []
