"""The lock of a run: a kernel lock on a file beside the checkpoint.

The kernel frees the lock the moment its owner dies. A release deletes the file. To make that safe,
a process that gets the lock checks that its file is still the one at the path.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
import weakref
from typing import Any

from aiocheckpoint.errors import RunInProgressError, StorageError

__all__ = ["FileLock"]

_OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_MODE = 0o600
_OWNER_BYTES = 1024
_OWNER_START = b'{"pid": '
_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """An exclusive lock between processes, and between flows in one process.

    Args:
        path: The lock file. Its directory exists when the lock is taken.
        location: The name of the locked object in messages.

    Attributes:
        inherited: Whether the file was left by an owner that was killed.
    """

    def __init__(self, path: str, location: str) -> None:
        self._path = path
        self._location = location
        self._descriptor: int | None = None
        self._identity: os.stat_result | None = None
        self.inherited: bool = False

    @property
    def held(self) -> bool:
        """Whether the lock was taken and not released. A forked child holds none."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock now.

        Raises:
            RunInProgressError: Another owner has it. The error names that owner.
            StorageError: The lock file cannot be made.
        """
        try:
            while self._descriptor is None:
                self._try()
        except StorageError:
            raise
        except OSError as error:
            raise StorageError.of(self._location, "locking", error) from error
        _held.add(self)

    def release(self) -> None:
        """Release the lock and delete its file, without effect where it is not held.

        A call after an interrupted one completes the release.
        """
        descriptor = self._descriptor
        if descriptor is None:
            return
        try:
            if sys.platform != "win32" and self._is_at_path(descriptor):
                os.unlink(self._path)
        except OSError:
            pass  # A lock file left behind blocks no other process.
        finally:
            self.forget()
        if sys.platform == "win32":
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def forget(self) -> None:
        """Close the file. A copy left open in a forked child would outlive the owner's death."""
        descriptor = self._descriptor
        # After an interruption behind the close, the number may belong to another file.
        if descriptor is not None and self._is_open(descriptor):
            with contextlib.suppress(OSError):  # A failed close frees the number too, see close(2).
                os.close(descriptor)
        self._descriptor = None
        _held.discard(self)

    def _try(self) -> None:
        descriptor = os.open(self._path, _OPEN, _MODE)
        try:
            try:
                _lock(descriptor)
            except (BlockingIOError, PermissionError):
                raise RunInProgressError(self._location, **_read_owner(descriptor)) from None
            if self._is_at_path(descriptor):
                _refuse_foreign(descriptor, self._path)
                self.inherited = _write_owner(descriptor)
                self._identity = os.fstat(descriptor)
                self._descriptor = descriptor
        finally:
            if self._descriptor is None:
                os.close(descriptor)

    def _is_at_path(self, descriptor: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), os.lstat(self._path))
        return False

    def _is_open(self, descriptor: int) -> bool:
        with contextlib.suppress(OSError):
            return self._identity is not None and os.path.samestat(
                os.fstat(descriptor), self._identity
            )
        return False


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # Windows forbids reading locked bytes, so the lock is behind the owner's name.
        os.lseek(descriptor, _OWNER_BYTES, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _refuse_foreign(descriptor: int, path: str) -> None:
    if os.read(descriptor, len(_OWNER_START)) not in {b"", _OWNER_START}:
        raise StorageError(path, f"{path} is no lock file of this library; move it away.")


def _write_owner(descriptor: int) -> bool:
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


def _read_owner(descriptor: int) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        owner = json.loads(os.read(descriptor, _OWNER_BYTES).partition(b"\n")[0])
        return {name: owner[name] for name in ("pid", "host", "since")}
    return {}


def _forget_all() -> None:
    for lock in list(_held):
        lock.forget()
    _held.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_all)
