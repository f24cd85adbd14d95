"""Waiting for the disk on macOS and renaming on Windows, with the systems' calls injected."""

from __future__ import annotations

import errno

import pytest

from aiocheckpoint.handlers._files.fsync import flush_drive
from aiocheckpoint.handlers._files.rename import rename_patiently

COMMAND = 51


class Drive:
    """A drive whose F_FULLFSYNC fails with an error, if one is given."""

    def __init__(self, error: int | None = None) -> None:
        """Begin with nothing called."""
        self.error = error
        self.calls: list[tuple[str, int]] = []

    def control(self, descriptor: int, command: int) -> None:
        """Be `fcntl.fcntl`."""
        assert command == COMMAND
        self.calls.append(("full", descriptor))
        if self.error is not None:
            raise OSError(self.error, "refused")

    def flush(self, descriptor: int) -> None:
        """Be `os.fsync`."""
        self.calls.append(("plain", descriptor))


def active_run(code: int) -> OSError:
    """Make an error of Windows, on any system."""
    error = OSError(errno.EACCES, "in use")
    error.winerror = code  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    return error


class Move:
    """A rename that fails with these errors, one after another, and then succeeds."""

    def __init__(self, *errors: OSError) -> None:
        """Begin with no try and no pause."""
        self.errors = list(errors)
        self.tries = 0
        self.pauses: list[float] = []

    def __call__(self) -> None:
        """Try."""
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)


def test_full_flush_is_enough() -> None:
    """Where F_FULLFSYNC works, nothing else is called."""
    drive = Drive()
    flush_drive(3, drive.control, COMMAND, drive.flush)
    assert drive.calls == [("full", 3)]


@pytest.mark.parametrize("error", [errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY])
def test_plain_flush_where_there_is_no_other(error: int) -> None:
    """Where the file system does not know F_FULLFSYNC, fsync must do."""
    drive = Drive(error)
    flush_drive(3, drive.control, COMMAND, drive.flush)
    assert drive.calls == [("full", 3), ("plain", 3)]


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EBADF])
def test_failed_flush_is_final(error: int) -> None:
    """A flush that failed comes out, and is never tried again on the same file."""
    drive = Drive(error)
    with pytest.raises(OSError, match="refused") as info:
        flush_drive(3, drive.control, COMMAND, drive.flush)
    assert info.value.errno == error
    assert drive.calls == [("full", 3)]


@pytest.mark.parametrize("code", [5, 32, 33])
def test_busy_file_is_tried_again(code: int) -> None:
    """A file that somebody has open for a moment is renamed over when he is done."""
    move = Move(active_run(code), active_run(code))
    rename_patiently(move, move.pauses.append)
    assert (move.tries, len(move.pauses)) == (3, 2)
    assert move.pauses[0] < move.pauses[1]


def test_patience_ends() -> None:
    """After about a second the last error comes out."""
    move = Move(*(active_run(32) for _ in range(99)))
    with pytest.raises(OSError, match="in use"):
        rename_patiently(move, move.pauses.append)
    assert move.tries == len(move.pauses) + 1
    assert 0.5 < sum(move.pauses) < 2


@pytest.mark.parametrize(
    "error", [active_run(3), OSError(errno.ENOSPC, "in use")], ids=["3", "full"]
)
def test_other_errors_come_out_at_once(error: OSError) -> None:
    """What does not pass by itself is not waited for."""
    move = Move(error)
    with pytest.raises(OSError, match="in use"):
        rename_patiently(move, move.pauses.append)
    assert (move.tries, move.pauses) == (1, [])
