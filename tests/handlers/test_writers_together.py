"""`replacing` by several writers of one path at once, and on machines that look alike."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import StorageError, replacing
from aiocheckpoint.handlers._files import replacement, writers

if TYPE_CHECKING:
    from collections.abc import Callable

two_ways = pytest.mark.parametrize("kind", ["directory", "two-steps"])


@pytest.fixture(autouse=True)
def fresh_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test be the first use of its directory by this process."""
    monkeypatch.setattr(writers, "_cleared", set())


def choose(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the call that exchanges two names."""
    if kind == "two-steps":
        monkeypatch.setattr(replacement, "exchange", lambda one, other: False)


def write(path: Path, text: str, meet: Callable[[], object]) -> None:
    """Replace a directory by one of two files, at the moment of the others."""
    with replacing(path) as temporary:
        temporary.mkdir()
        for name in ("one", "two"):
            (temporary / name).write_text(text)
        meet()


def write_together(path: Path, number: int) -> list[BaseException]:
    """Replace a directory by so many threads at once, and give their errors."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(number)

    def run(text: str) -> None:
        try:
            write(path, text, partial(barrier.wait, 20))
        except BaseException as error:  # noqa: BLE001 - given back
            errors.append(error)

    threads = [threading.Thread(target=run, args=(f"{index}",)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


@two_ways
def test_writers_of_a_new_directory(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers that meet where nothing exists all succeed, and one whole directory is left."""
    choose(kind, monkeypatch)
    for number in range(8):
        path = tmp_path / f"parts-{number}"
        assert write_together(path, 4) == []
        texts = {(path / name).read_text() for name in ("one", "two")}
        assert len(texts) == 1
    assert len(list(tmp_path.iterdir())) == 8


@two_ways
def test_directory_that_vanishes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that is deleted before it is replaced is no error."""
    choose(kind, monkeypatch)
    path, exchange = tmp_path / "parts", vars(replacement)["exchange"]
    write(path, "old", lambda: None)

    def vanish(one: str, other: str) -> bool:
        shutil.rmtree(other)
        return bool(exchange(one, other))

    monkeypatch.setattr(replacement, "exchange", vanish)
    write(path, "new", lambda: None)
    assert (path / "one").read_text() == "new"
    assert [one.name for one in tmp_path.iterdir()] == ["parts"]


def test_writer_between_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that comes while the old one is aside is replaced, and nothing stays aside."""
    choose("two-steps", monkeypatch)
    path, rename, came = tmp_path / "parts", os.rename, False
    write(path, "old", lambda: None)

    def come_between(source: str, target: str) -> None:
        nonlocal came
        rename(source, target)
        if "~old" in target and not came:
            came = True
            path.mkdir()
            (path / "theirs").touch()

    monkeypatch.setattr(os, "rename", come_between)
    write(path, "new", lambda: None)
    assert came
    assert sorted(one.name for one in path.iterdir()) == ["one", "two"]
    assert [one.name for one in tmp_path.iterdir()] == ["parts"]


def test_two_writers_between_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stays aside where a second writer comes, and a third one moves the second's away."""
    choose("two-steps", monkeypatch)
    path, rename, moved = tmp_path / "parts", os.rename, tmp_path / "third"
    write(path, "old", lambda: None)

    def come_between(source: str, target: str) -> None:
        if moved.exists():
            return rename(source, target)
        try:
            rename(source, target)
        except OSError:
            if "~old" in source:  # It was to be put back, and the second one's is there.
                rename(path, moved)
            raise
        if "~old" in target:
            path.mkdir()
            (path / "theirs").touch()
        return None

    monkeypatch.setattr(os, "rename", come_between)
    write(path, "new", lambda: None)
    assert [one.name for one in moved.iterdir()] == ["theirs"]
    assert sorted(one.name for one in path.iterdir()) == ["one", "two"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["parts", "third"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOTEMPTY])
def test_rename_that_always_fails(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that refuses each rename gets no endless tries."""
    choose("two-steps", monkeypatch)

    def refuse(*_: Any) -> None:  # noqa: ANN401 - as rename takes them
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(StorageError) as info:
        write(tmp_path / "parts", "new", lambda: None)
    assert info.value.errno == number
    assert list(tmp_path.iterdir()) == []


# --- machines that look alike


def name_on_another_start(target: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary name of a writer of the same host's name and another boot id."""
    here = writers._here()  # noqa: SLF001 - the place in the name
    with monkeypatch.context() as patch:
        patch.setattr(writers, "_here", lambda: here._replace(boot="0" * 8))
        return Path(writers.temporary_beside(str(target)))


def test_clone_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer of the same host's name and another boot id may live. Its files stay."""
    temporary = name_on_another_start(tmp_path / "rows.txt", monkeypatch)
    temporary.write_text("theirs")
    with replacing(tmp_path / "rows.txt") as mine:
        mine.write_text("mine")
    assert temporary.read_text() == "theirs"


@pytest.mark.parametrize("replaced", [True, False])
def test_directory_aside_after_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, replaced: bool
) -> None:
    """An old directory set aside before a power cut is put back, unless a new one is there."""
    path = tmp_path / "parts"
    aside = Path(writers.aside_of(str(name_on_another_start(path, monkeypatch))))
    aside.mkdir()
    (aside / "one").write_text("old")
    if replaced:
        path.mkdir()
        (path / "one").write_text("new")
    with replacing(tmp_path / "other") as other:
        other.touch()
    assert (path / "one").read_text() == ("new" if replaced else "old")
    assert aside.exists() is replaced
