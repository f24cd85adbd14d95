"""Flushing and renaming, on macOS and Windows with the systems' calls injected."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import LocalStateHandler, NotDurableError
from aiocheckpoint._concurrency.backends import SyncBackend
from aiocheckpoint.handlers._files import replace as module
from aiocheckpoint.handlers._files.fsync import flush_drive
from aiocheckpoint.handlers._files.rename import rename_patiently
from aiocheckpoint.handlers._snapshot_run_store import SnapshotRunStore

if TYPE_CHECKING:
    from pathlib import Path

    from aiocheckpoint import Header

COMMAND = 51
LARGE = bytes(1 << 19)


class Drive:
    """A drive whose F_FULLFSYNC fails with the given error, if any."""

    def __init__(self, error: int | None = None) -> None:
        """Start with no calls recorded."""
        self.error = error
        self.calls: list[tuple[str, int]] = []

    def control(self, descriptor: int, command: int) -> None:
        """Stand-in for `fcntl.fcntl`."""
        assert command == COMMAND
        self.calls.append(("full", descriptor))
        if self.error is not None:
            raise OSError(self.error, "refused")

    def flush(self, descriptor: int) -> None:
        """Stand-in for `os.fsync`."""
        self.calls.append(("plain", descriptor))


def active_run(code: int) -> OSError:
    """Make a Windows error on any system."""
    error = OSError(errno.EACCES, "in use")
    error.winerror = code  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    return error


class Move:
    """A rename that fails with these errors in turn, and then succeeds."""

    def __init__(self, *errors: OSError) -> None:
        """Start with no attempt and no pause recorded."""
        self.errors = list(errors)
        self.tries = 0
        self.pauses: list[float] = []

    def __call__(self) -> None:
        """Attempt the rename."""
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)


def test_full_flush_is_enough() -> None:
    """After a successful F_FULLFSYNC nothing else is called."""
    drive = Drive()
    flush_drive(3, drive.control, COMMAND, drive.flush)
    assert drive.calls == [("full", 3)]


@pytest.mark.parametrize("error", [errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY])
def test_plain_flush_where_there_is_no_other(error: int) -> None:
    """On a file system without F_FULLFSYNC, fsync is called instead."""
    drive = Drive(error)
    flush_drive(3, drive.control, COMMAND, drive.flush)
    assert drive.calls == [("full", 3), ("plain", 3)]


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EBADF])
def test_failed_flush_is_final(error: int) -> None:
    """A failed flush is raised, and never repeated on the same file."""
    drive = Drive(error)
    with pytest.raises(OSError, match="refused") as info:
        flush_drive(3, drive.control, COMMAND, drive.flush)
    assert info.value.errno == error
    assert drive.calls == [("full", 3)]


@pytest.mark.parametrize("code", [5, 32, 33])
def test_busy_file_is_tried_again(code: int) -> None:
    """A rename over a file that another program has open is repeated until it succeeds."""
    move = Move(active_run(code), active_run(code))
    rename_patiently(move, move.pauses.append)
    assert (move.tries, len(move.pauses)) == (3, 2)
    assert move.pauses[0] < move.pauses[1]


def test_patience_ends() -> None:
    """After about a second the last error is raised."""
    move = Move(*(active_run(32) for _ in range(99)))
    with pytest.raises(OSError, match="in use"):
        rename_patiently(move, move.pauses.append)
    assert move.tries == len(move.pauses) + 1
    assert 0.5 < sum(move.pauses) < 2


@pytest.mark.parametrize(
    "error", [active_run(3), OSError(errno.ENOSPC, "in use")], ids=["3", "full"]
)
def test_other_errors_come_out_at_once(error: OSError) -> None:
    """A permanent error is raised without a pause."""
    move = Move(error)
    with pytest.raises(OSError, match="in use"):
        rename_patiently(move, move.pauses.append)
    assert (move.tries, move.pauses) == (1, [])


@pytest.mark.parametrize(
    ("chunks", "fsync", "flushes"),
    [
        ([LARGE], True, [1]),
        ([LARGE] * 9, True, [1, 2, 4, 8]),
        ([LARGE[1:]] * 9, True, []),
        ([LARGE] * 9, False, []),
    ],
    ids=["one", "many", "small", "without fsync"],
)
def test_early_flushes(
    chunks: list[bytes],
    fsync: bool,  # noqa: FBT001
    flushes: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Chunks of 0.5 MB are flushed while the file is written, each time its length doubles."""
    seen = list[int]()
    monkeypatch.setattr(
        module, "flush_data", lambda descriptor: seen.append(os.fstat(descriptor).st_size)
    )
    with (tmp_path / "file").open("wb") as file:
        target = module.FileTarget("file", "file", file.fileno(), fsync=fsync)
        for chunk in chunks:
            target.write(chunk)
    assert seen == [count * len(LARGE) for count in flushes]


def test_file_that_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rewound file is empty and written from its start, and is flushed early as a new one is."""
    seen = list[int]()
    monkeypatch.setattr(module, "flush_data", seen.append)
    with (tmp_path / "file").open("wb") as file:
        target = module.FileTarget("file", "file", file.fileno(), fsync=True)
        target.rewind()
        for content in (LARGE, LARGE, b"", b"xy", b"z"):
            target.write(content)
            assert (target.length, os.fstat(file.fileno()).st_size) == (len(content),) * 2
            target.rewind()
            assert (target.length, os.fstat(file.fileno()).st_size) == (0, 0)
        target.write(b"end")
        target.write(b"ed")
    assert (tmp_path / "file").read_bytes() == b"ended"
    assert len(seen) == 2


def test_header_that_may_not_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed flush of the directory, the run store has the header in the file."""
    handler = LocalStateHandler(tmp_path / "c.pkl", flow="f")
    handler.write({"n": 1})

    def fail(directory: str) -> None:
        raise OSError(errno.EIO, "broken", directory)

    def cancelled(header: Header) -> Header:
        return replace(header, status="cancelled")

    store = SnapshotRunStore(handler, None, SyncBackend())
    with handler.locked() as lock:
        monkeypatch.setattr(store, "_lock", lock)
        monkeypatch.setattr(module, "flush_directory", fail)
        with pytest.raises(NotDurableError):
            store.update_header(cancelled)
    assert handler.header() == store.header
    assert store.header is not None
    assert store.header.status == "cancelled"
