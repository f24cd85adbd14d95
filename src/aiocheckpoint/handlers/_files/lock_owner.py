"""The name of the owner in a lock file."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from typing import Any

from aiocheckpoint.errors import StorageError

__all__ = ["OWNER_BYTES", "read_owner", "refuse_foreign", "write_owner"]

OWNER_BYTES = 1024
"""A lock file has at most this many bytes."""

_OWNER_START = b'{"pid": '


def refuse_foreign(descriptor: int, path: str) -> None:
    if os.read(descriptor, len(_OWNER_START)) not in {b"", _OWNER_START}:
        raise StorageError(path, f"{path} is no lock file of this library; move it away.")


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
