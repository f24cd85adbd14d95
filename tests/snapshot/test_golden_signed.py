"""Signed snapshots of format version 1, as each Python wrote them: trusted for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from forged_snapshots import OTHER, Pieces
from golden import write
from graphs import difference
from locations import GOLDEN
from pythons import SUPPORTED, THIS, find_python, make_path, run_python

from aiocheckpoint import (
    IncompatibleSnapshotError,
    LocalStateHandler,
    UntrustedSnapshotError,
    inspect,
)

VERSIONS = ["{}.{}".format(*version) for version in SUPPORTED]
HERE = "{}.{}".format(*THIS)
KINDS = ("plain", "code")
READ = """
import sys
from aiocheckpoint import LocalStateHandler
secret, *paths = sys.argv[1:]
for path in paths:
    print(LocalStateHandler(path, secret=secret, flow="golden").header().signed_by)
"""


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def golden(kind: str, version: str) -> Path:
    """Give the path of a golden file."""
    return GOLDEN / f"signed-{kind}-{version}.snapshot"


def trusting(path: Path, secret: bytes = write.SECRET, flow: str = write.FLOW) -> LocalStateHandler:
    """Make a reader that requires a signature."""
    return LocalStateHandler(path, secret=secret, flow=flow)


@pytest.mark.parametrize("version", VERSIONS)
def test_signed_plain_data(version: str) -> None:
    """Signed plain data is verified and read, whichever Python signed it."""
    handler = trusting(golden("plain", version))
    assert difference(write.make_plain(), handler.read()) is None
    header = handler.header()
    assert header is not None
    assert (header.signed_by, header.flow) == (*handler.key_ids, "golden")
    assert inspect(golden("plain", version)).signed_by == header.signed_by


@pytest.mark.parametrize("version", VERSIONS)
def test_signed_code(version: str) -> None:
    """A signature does not make code of one Python loadable on another."""
    handler = trusting(golden("code", version))
    if version == HERE:
        assert handler.read()["function"](4) == 8
        return
    with pytest.raises(IncompatibleSnapshotError, match=version):
        handler.read()
    assert not Path("mark").exists()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_signatures_hold_for_what_they_were_made(kind: str, version: str, tmp_path: Path) -> None:
    """With another secret, for another flow, or with any alteration they are not trusted."""
    path = golden(kind, version)
    copy = tmp_path / "golden"
    copy.write_bytes(Pieces.of(path.read_bytes()).with_fields(position=0).joined())
    for handler in (trusting(path, OTHER), trusting(path, flow="other"), trusting(copy)):
        with pytest.raises(UntrustedSnapshotError):
            handler.read()
    assert not Path("mark").exists()


def test_ids_are_what_they_were() -> None:
    """The id of a secret and the signatures of a header do not change between releases."""
    (key,) = trusting(Path("any")).key_ids
    signed_by = {inspect(golden(kind, one)).signed_by for kind in KINDS for one in VERSIONS}
    assert signed_by == {key}


@pytest.mark.parametrize("version", sorted(set(SUPPORTED) - {THIS}), ids=str)
def test_another_python_trusts_them_too(version: tuple[int, int], tmp_path: Path) -> None:
    """Another Python verifies the signatures of this Python, and of all others."""
    python = find_python(version)
    if python is None:
        pytest.skip("this Python is not here")
    links = tmp_path / "links"
    links.mkdir()
    here = tmp_path / "here.pkl"
    trusting(here).write(write.make_plain())
    paths = [str(golden(kind, one)) for kind in KINDS for one in VERSIONS]
    secret = write.SECRET.decode()
    printed = run_python(python, make_path(links), secret, str(here), *paths, text=READ)
    assert set(printed.split()) == set(trusting(here).key_ids)
    assert len(printed.split()) == 1 + len(paths)
