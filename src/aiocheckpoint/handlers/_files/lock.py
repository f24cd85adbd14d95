"""The lock of a run: a kernel lock on a file beside the checkpoint.

The kernel frees the lock the moment its owner dies. A release deletes the file. To make that safe,
a process that gets the lock checks that its file is still the one at the path.

Another program may delete the file too, such as a cleaner of old files. The kernel's lock then
keeps nobody out. So `check`, the fence of files, is called before each write.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from aiocheckpoint.errors import LeaseLostError, RunInProgressError, StorageError
from aiocheckpoint.handlers._files.kernel_lock import (
    NO_LOCKS,
    is_locked,
    is_shared,
    lock_file,
    share_file,
    unlock_file,
)
from aiocheckpoint.handlers._files.lock_owner import (
    lock_failed,
    not_regular,
    read_owner,
    refuse_foreign,
    write_owner,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FileLock"]

# Without O_NONBLOCK, a FIFO in place of the file waits for its other end.
_OPEN = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
_MODE = 0o600
_REFRESH_SECONDS = 3600.0
_TRIES = 1000
_PAUSE_SECONDS = 0.001

_open_locks: set[FileLock] = set()
"""Kept here too where nobody else keeps them: the step of an abandoned run may still hang, and a
collected file would be closed, which frees its lock."""

_forks = 0
_fork_guard = threading.RLock()
"""Held while a file is opened and noted in `_open_locks`, and while the process forks. Signal
handlers and finalizers may come in between, so it is reentrant."""


class FileLock:
    """An exclusive lock between processes, and between flows in one process.

    Args:
        path: The lock file. Its directory exists when the lock is taken.
        location: The name of the locked object in messages.
        without_locks: The remedy where the file system cannot lock files.

    Attributes:
        file: The lock file.
        inherited: Whether the file was left by an owner that was killed.
    """

    def __init__(
        self, path: str, location: str, *, without_locks: str = "Use a path on a local disk."
    ) -> None:
        self.file = path
        self._location = location
        self._without_locks = without_locks
        self._file: io.FileIO | None = None
        self._identity: os.stat_result | None = None
        self._taken = False
        self._refresh_at = 0.0
        self.inherited: bool = False

    @property
    def held(self) -> bool:
        """Whether the lock was taken and not released. A forked child holds none."""
        return self._taken

    def acquire(self) -> None:
        """Take the lock now.

        Raises:
            RunInProgressError: Another owner has it. The error names that owner.
            StorageError: The lock file cannot be made, or something else is in its place.
        """
        tries = 0
        while not self._taken:
            try:
                self._try(patient=tries < _TRIES)
            except StorageError:
                raise
            except OSError as error:
                raise lock_failed(self.file, self._location, error) from error
            if not self._taken:
                time.sleep(_PAUSE_SECONDS)
                tries += 1

    def check(self) -> None:
        """Check that the lock is held, and its file at its path. This costs one system call.

        Every hour, the file also gets the present time, so that cleaners of old files leave it.

        Raises:
            LeaseLostError: The lock is not held, or the file is not at its path.
            OSError: The path cannot be looked at.
        """
        if not self._taken:
            raise LeaseLostError(self._location)
        if sys.platform == "win32":
            return  # An open file cannot be deleted, nor its directory renamed ("CreateFileW").
        if not self._is_at_path():
            raise LeaseLostError(
                self._location,
                f"another program deleted or replaced its lock file {self.file} or moved its "
                "directory (exclude them from any cleaning)",
            )
        if time.monotonic() > self._refresh_at:
            self._refresh()

    def release(self) -> None:
        """Release the lock and delete its file, without effect where it is not held.

        The file of another owner stays. A call after an interrupted one completes the release.
        """
        if self._file is None:
            return
        try:
            self._delete_file()
        except BaseException:  # Ctrl-C struck in the middle.
            self._delete_file()
            raise
        finally:
            self.forget()
        if sys.platform == "win32":
            with contextlib.suppress(OSError):
                os.unlink(self.file)

    def forget(self) -> None:
        """Close the file. A copy left open in a forked child would outlive the owner's death."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # A failed close frees the number too, see close(2).
                # One call of C, which no signal handler interrupts, and without effect the second
                # time. By then number and inode may belong to a file of another thread.
                self._file.close()
        self._taken = False
        self._file = None
        _open_locks.discard(self)

    def owner(self) -> dict[str, Any] | None:
        """The owner that holds the lock: pid, host and time. None where nobody holds it.

        The file is opened for reading alone.

        Raises:
            OSError: The file cannot be opened.
        """
        try:
            descriptor = self._open(os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            locked = self._is_regular() and is_locked(descriptor)
            return read_owner(descriptor) if locked else None
        finally:
            self.forget()

    def clear(self, temporaries: Iterable[str], *, keeps_file: bool = False) -> None:
        """Delete the file, and temporary files of its last owner, unless a process has the lock.

        With `keeps_file`, the file stays: the next owner learns from it that the last was killed.

        The lock is shared meanwhile, which `acquire` can tell from an owner. Two processes must
        not call this for one file at the same time: the later could delete a new owner's file.

        Raises:
            OSError: A file cannot be opened or deleted.
        """
        try:
            descriptor = self._open()
        except FileNotFoundError:
            _delete(temporaries)
            return
        try:
            if self._is_regular() and share_file(descriptor) and self._is_at_path():
                refuse_foreign(descriptor, self.file)
                if sys.platform == "win32" and not keeps_file:
                    self.forget()  # It forbids deleting a file that any process has open.
                if not keeps_file:
                    os.unlink(self.file)
                _delete(temporaries)
        finally:
            if self._file is not None:
                with contextlib.suppress(OSError):
                    unlock_file(descriptor)
            self.forget()

    def _try(self, *, patient: bool) -> None:
        """Take the lock, unless the file was replaced or is shared for a moment by `clear`."""
        descriptor = self._open(os.O_RDWR | os.O_CREAT)
        try:
            if not self._is_regular():
                raise not_regular(self.file, self._location)
            if not self._lock(descriptor):
                if patient and is_shared(descriptor):
                    return
                raise RunInProgressError(self._location, **read_owner(descriptor))
            if self._is_at_path():
                refuse_foreign(descriptor, self.file)
                self.inherited = write_owner(descriptor)
                self._refresh_at = time.monotonic() + _REFRESH_SECONDS
                self._taken = True
        finally:
            if not self._taken:
                self.forget()

    def _lock(self, descriptor: int) -> bool:
        """Ask the kernel for the lock. Where it has none, no file is left behind."""
        try:
            return lock_file(descriptor)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            if os.fstat(descriptor).st_size == 0:
                self._delete_file()
            raise self._no_locks(error) from error

    def _open(self, flags: int = os.O_RDWR) -> int:
        """Open the file, and note it, so that a forked child closes its copy."""
        while True:
            with _fork_guard:
                forks = _forks
                descriptor = os.open(self.file, _OPEN | flags, _MODE)
                self._identity = os.fstat(descriptor)
                try:
                    self._file = io.FileIO(descriptor, "r+")
                except OSError:  # A directory, which can be opened for reading.
                    os.close(descriptor)
                    raise
                _open_locks.add(self)
                if forks == _forks:
                    return descriptor
                self.forget()  # A signal handler forked, perhaps before the file was noted.

    def _delete_file(self) -> None:
        # A lock file left behind blocks no other process.
        with contextlib.suppress(OSError):
            # While it is open, no other file has its inode.
            is_open = self._file is not None and not self._file.closed
            if sys.platform != "win32" and is_open and self._is_at_path():
                os.unlink(self.file)

    def _refresh(self) -> None:
        self._refresh_at = time.monotonic() + _REFRESH_SECONDS
        if self._file is not None:
            with contextlib.suppress(OSError, ValueError):
                os.utime(self._file.fileno())

    def _is_regular(self) -> bool:
        return self._identity is not None and stat.S_ISREG(self._identity.st_mode)

    def _is_at_path(self) -> bool:
        try:
            found = os.lstat(self.file)
        except (FileNotFoundError, NotADirectoryError):
            return False
        own = self._identity
        return own is not None and found.st_ino == own.st_ino and found.st_dev == own.st_dev

    def _no_locks(self, error: OSError) -> StorageError:
        return StorageError(
            self._location,
            f"the file system of {self.file} cannot lock files ({error.strerror}), and a lock "
            f"keeps two processes from running at once. {self._without_locks}",
            errno=error.errno,
        )


def _delete(paths: Iterable[str]) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _before_fork() -> None:
    global _forks  # noqa: PLW0603 - one count for the process
    _fork_guard.acquire()
    _forks += 1


def _after_fork_in_child() -> None:
    for lock in list(_open_locks):
        lock.forget()
    _open_locks.clear()
    _fork_guard.release()


if sys.platform != "win32":
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_fork_guard.release,
        after_in_child=_after_fork_in_child,
    )
