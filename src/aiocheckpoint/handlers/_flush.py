"""Waiting for the disk, and renaming over a file, on each system as its manual asks for it."""

from __future__ import annotations

import errno
import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "flush_data",
    "flush_directory",
    "flush_drive",
    "flush_file",
    "rename",
    "rename_patiently",
]

_UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY})
# ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION: a virus scanner, an indexer or
# a reader has the file open for a moment (Microsoft, "System Error Codes (0-499)").
_BUSY = frozenset({5, 32, 33})
_PAUSES = tuple(0.001 * 2**number for number in range(10))


def flush_drive(
    descriptor: int,
    control: Callable[[int, int], object],
    command: int,
    flush: Callable[[int], object],
) -> None:
    """Flush a file as macOS needs it: its fsync leaves the data in the drive's own cache.

    Apple's manual of fsync(2) names F_FULLFSYNC for "strict guarantees"; not every file system
    has it, and only there plain fsync must do.

    Args:
        descriptor: The open file.
        control: `fcntl.fcntl`.
        command: `fcntl.F_FULLFSYNC`.
        flush: `os.fsync`.

    Raises:
        OSError: The flush failed; it must not be tried again on the same file.
    """
    try:
        control(descriptor, command)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        flush(descriptor)


def rename_patiently(
    move: Callable[[], None], pause: Callable[[float], object] = time.sleep
) -> None:
    """Call `move`, again and again for about a second while Windows says that a file is busy.

    Raises:
        OSError: The last one that `move` raised.
    """
    for seconds in _PAUSES:
        try:
            return move()
        except OSError as error:
            if getattr(error, "winerror", None) not in _BUSY:
                raise
        pause(seconds)
    return move()


if sys.platform == "win32":
    import ctypes

    # MOVEFILE_REPLACE_EXISTING, MOVEFILE_WRITE_THROUGH: "does not return until the file is
    # actually moved on the disk" (Microsoft, "MoveFileExW").
    _REPLACE, _THROUGH = 1, 8
    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)

    def rename(source: str, target: str, *, durable: bool) -> None:
        """Rename a file over another."""
        flags = _REPLACE | _THROUGH if durable else _REPLACE

        def move() -> None:
            if not _kernel32.MoveFileExW(source, target, flags):
                raise ctypes.WinError(ctypes.get_last_error())

        rename_patiently(move)

else:

    def rename(source: str, target: str, *, durable: bool) -> None:  # noqa: ARG001
        """Rename a file over another; flushing the directory makes it durable."""
        os.replace(source, target)


if sys.platform == "darwin":
    import fcntl

    def flush_file(descriptor: int) -> None:
        """Wait until the disk has the file."""
        flush_drive(descriptor, fcntl.fcntl, fcntl.F_FULLFSYNC, os.fsync)

else:

    def flush_file(descriptor: int) -> None:
        """Wait until the disk has the file."""
        os.fsync(descriptor)


if hasattr(os, "fdatasync"):

    def flush_data(descriptor: int) -> None:
        """Let the disk have what was written so far, so that there is less to flush in the end."""
        os.fdatasync(descriptor)

else:

    def flush_data(descriptor: int) -> None:
        """Do nothing: this system has no such call, or it would cost as much as the last flush."""


def flush_directory(directory: str) -> None:
    """Make the entries of a directory durable; Windows has no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flush_file(descriptor)
    finally:
        os.close(descriptor)
