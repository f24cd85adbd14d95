"""Other things than files in place of a lock file."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING, Any

import pytest
from lock_processes import flow

from aiocheckpoint import StorageError
from aiocheckpoint.handlers._files.lock import FileLock
from aiocheckpoint.handlers.sqlite import SqliteStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Runner

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="POSIX only"),
    pytest.mark.timeout(30),  # an open of a FIFO may wait for ever
]


def make_socket(path: Path) -> None:
    """Bind a socket, and leave its file."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def make_device(path: Path) -> None:
    """Make a device like /dev/zero, which gives bytes without an end."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except OSError:
        pytest.skip("needs the right to make devices")


def make_link(path: Path) -> None:
    """Link to a FIFO."""
    target = path.with_suffix(".fifo")
    os.mkfifo(target)
    path.symlink_to(target)


MAKERS: dict[str, Callable[[Path], None]] = {
    "FIFO": os.mkfifo,
    "directory": lambda path: path.mkdir(),
    "socket": make_socket,
    "device": make_device,
    "link to a FIFO": make_link,
}


@pytest.mark.leaves_files
@pytest.mark.parametrize("kind", MAKERS)
def test_run(kind: str, runner: Runner, tmp_path: Path) -> None:
    """A run is refused at once, the error names the path, and the thing stays as it is."""
    path, place = tmp_path / "c.pkl", tmp_path / ".c.pkl.lock"
    MAKERS[kind](place)
    before, ran = place.lstat(), list[Any]()
    with pytest.raises(StorageError) as info:
        runner(flow(path, ran.append))
    for words in (str(place), str(path), "no regular file", "Move it away"):
        assert words in str(info.value)
    assert (ran, path.exists()) == ([], False)
    assert place.lstat() == before


@pytest.mark.leaves_files
@pytest.mark.parametrize("kind", MAKERS)
def test_listing(kind: str, tmp_path: Path) -> None:
    """A listing of the directory neither waits for it nor deletes it."""
    cp = flow(tmp_path / "c.pkl")
    cp.run({})
    MAKERS[kind](tmp_path / ".c.pkl.lock")
    assert [header.status for header in cp.runs()] == ["finished"]
    assert (tmp_path / ".c.pkl.lock").is_symlink() or (tmp_path / ".c.pkl.lock").exists()


@pytest.mark.leaves_files
def test_owner_file_of_a_database(runner: Runner, tmp_path: Path) -> None:
    """A FIFO in place of an owner's file of a database stops nobody."""
    path = tmp_path / "c.db"
    os.mkfifo(f"{path}-owner-0123456789abcdef")
    assert runner(flow(path), {"n": 1}) == {"n": 1}
    SqliteStateHandler(path).close()


def test_lock_file_that_cannot_be_made(tmp_path: Path) -> None:
    """An error of the system names the lock file and the locked thing."""
    lock = FileLock(str(tmp_path / "gone" / ".c.pkl.lock"), "c.pkl")
    with pytest.raises(StorageError, match=r"taking the lock file .*/\.c\.pkl\.lock of c\.pkl"):
        lock.acquire()
