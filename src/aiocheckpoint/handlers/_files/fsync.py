"""Flushing files and directories to the disk, as the manual of each system demands."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

from aiocheckpoint._logging import warn_unflushed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["flush_data", "flush_directory", "flush_drive", "flush_file"]

_UNSUPPORTED = frozenset(
    {errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.ENOSYS}
)
"""The answers of systems and file systems that lack a call, as against those of a failure."""

_unflushed_devices: set[int] = set()
"""The file systems of which the log has a warning already."""


def flush_drive(
    descriptor: int,
    control: Callable[[int, int], object],
    command: int,
    flush: Callable[[int], object],
) -> None:
    """Flush a file as macOS needs it: its fsync leaves the data in the drive's own cache.

    Apple's manual of fsync(2) names F_FULLFSYNC for "strict guarantees". File systems without it
    get a plain fsync.

    Args:
        descriptor: The open file.
        control: `fcntl.fcntl`.
        command: `fcntl.F_FULLFSYNC`.
        flush: `os.fsync`.

    Raises:
        OSError: The flush failed. A second try on the same file could succeed wrongly.
    """
    try:
        control(descriptor, command)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        flush(descriptor)


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
        """Flush the data written so far, so that the last flush has less to do."""
        os.fdatasync(descriptor)

else:

    def flush_data(descriptor: int) -> None:
        """Do nothing: this system lacks the call, or it would cost as much as the last flush."""


def flush_directory(directory: str) -> None:
    """Make the entries of a directory durable. Windows has no such call.

    Shared folders of virtual machines, old CIFS mounts and some FUSE file systems cannot flush a
    directory either. The log warns of that once a process, as the file itself was flushed.

    Raises:
        OSError: The flush failed.
    """
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flush_file(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        device = os.fstat(descriptor).st_dev
        if device not in _unflushed_devices:
            _unflushed_devices.add(device)
            warn_unflushed(directory)
    finally:
        os.close(descriptor)
