"""The name of the owner in a lock file."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import time
from typing import Any

from aiocheckpoint.errors import StorageError

__all__ = [
    "LEASE_START",
    "OWNER_BYTES",
    "lock_failed",
    "not_regular",
    "read_owner",
    "refuse_foreign",
    "write_owner",
]

OWNER_BYTES = 1024
"""A lock file has at most this many bytes."""

_OWNER_START = b'{"pid": '
LEASE_START = b'{"lease": '
"""The start of a lock file of `LeaseLock`."""


def refuse_foreign(descriptor: int, path: str) -> None:
    """Check that an open file is empty or a lock file of this kind.

    Raises:
        StorageError: It is another one.
    """
    start = os.read(descriptor, len(LEASE_START))
    if start == LEASE_START:
        raise StorageError(
            path,
            f"{path} is the lock file of a process with lock='lease'. All processes of one place "
            "use the same lock=.",
        )
    if start[: len(_OWNER_START)] not in {b"", _OWNER_START}:
        raise StorageError(path, f"{path} is no lock file of this library. Move it away.")


def not_regular(file: str, location: str) -> StorageError:
    """The error for something else in the place of a lock file."""
    return StorageError(
        file, f"{file} is no regular file, and so no lock file of {location}. Move it away."
    )


def lock_failed(file: str, location: str, error: OSError) -> StorageError:
    """The error for a lock file that cannot be made or opened."""
    with contextlib.suppress(OSError):
        if not stat.S_ISREG(os.lstat(file).st_mode):
            return not_regular(file, location)
    return StorageError.of(location, f"taking the lock file {file} of", error)


def write_owner(descriptor: int) -> bool:
    """Write the owner into the file, and return whether it held the name of an earlier owner."""
    since = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    before = os.fstat(descriptor).st_size
    os.lseek(descriptor, 0, os.SEEK_SET)
    # Never empty in between, so that a process killed here still counts as an earlier owner.
    length = os.write(descriptor, json.dumps(owner).encode() + b"\n")
    if length < before:
        os.ftruncate(descriptor, length)
    return before > 0


def read_owner(descriptor: int) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        owner = json.loads(os.read(descriptor, OWNER_BYTES).partition(b"\n")[0])
        return {name: owner[name] for name in ("pid", "host", "since")}
    return {}
