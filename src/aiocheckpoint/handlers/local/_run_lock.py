"""The lock of a run's file, which prepares the directory when it is taken."""

from __future__ import annotations

import contextlib
import os

from aiocheckpoint._errors.owner import describe_process
from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._files.lease_lock import LeaseLock
from aiocheckpoint.handlers._files.leftovers import clear_leftovers, clear_unowned, lock_path
from aiocheckpoint.handlers._files.lock import FileLock
from aiocheckpoint.handlers._files.replace import make_directory
from aiocheckpoint.handlers._leases import LEASE_SECONDS

__all__ = ["RunLock"]

_WITHOUT_LOCKS = (
    "Pass lock='lease', which works by renewed lock files, in all processes of this place. Or use "
    "a path on a local disk."
)


class RunLock:
    """The lock of a run: the kernel's on a hidden file beside it, or a renewed file.

    Args:
        path: The run's file.
        lease: Length of the lease of a renewed file, or None for the kernel's lock.
        one_of_many: Whether the directory may hold many runs. Listing it takes long, so temporary
            files are then deleted only after a killed owner.
        fsync: Whether to wait until the disk has a directory that is made.

    Attributes:
        file: The lock file.
    """

    def __init__(self, path: str, lease: float | None, *, one_of_many: bool, fsync: bool) -> None:
        self._real_path = os.path.realpath(path)
        self.file: str = lock_path(self._real_path)  # Two links to one file share its lock.
        self._target, self._one_of_many, self._fsync = path, one_of_many, fsync
        self._lock = (
            FileLock(self.file, path, without_locks=_WITHOUT_LOCKS)
            if lease is None
            else LeaseLock(self.file, path, lease)
        )

    def __repr__(self) -> str:
        return f"<RunLock of {self._target!r}, {'held' if self.held else 'not held'}>"

    @classmethod
    def in_use(cls, path: str, lease: float | None, *, fsync: bool) -> RunLock:
        """Make the lock of a run: a lease where its lock file names an owner by a lease.

        Args:
            path: The run's file.
            lease: The kind of lock for a run without such a file.
            fsync: As above.

        Raises:
            StorageError: The lock file cannot be read.
        """
        if lease is None:
            lease = LeaseLock(lock_path(os.path.realpath(path)), path, LEASE_SECONDS).lease_found()
        return cls(path, lease, one_of_many=True, fsync=fsync)

    @property
    def held(self) -> bool:
        """Whether the lock was taken and not released. A forked child holds none."""
        return self._lock.held

    @property
    def inherited(self) -> bool:
        """Whether the last owner was killed, as its lock file was left."""
        return self._lock.inherited

    def owner(self) -> str | None:
        """The living owner in words, or None. Nothing is taken.

        `inspect` does not know which kind of lock the flow has, so that an owner by a lease is
        seen from a kernel's lock as well.

        Raises:
            StorageError: The lock file cannot be read.
        """
        try:
            found = self._lock.owner()
            if found is None and isinstance(self._lock, FileLock):
                found = LeaseLock(self.file, self._target, LEASE_SECONDS).owner()
        except OSError as error:
            raise StorageError.of(self._target, "reading the lock file of", error) from error
        if not found:
            return None if found is None else "an unknown process"
        return describe_process(found["pid"], found["host"])

    def acquire(self) -> None:
        """Take the lock now, and delete temporary files of earlier owners.

        Raises:
            RunInProgressError: Another owner has it. The error names that owner.
            StorageError: The lock file cannot be made, or something else is in its place.
        """
        make_directory(self._target, fsync=self._fsync)
        try:
            self._lock.acquire()
        except StorageError:
            self._clear_empty()
            raise
        if self._lock.inherited or not self._one_of_many:
            clear_leftovers(self._real_path)

    def _clear_empty(self) -> None:
        """Delete the empty lock file that a failed claim by the kernel's lock left, if it did.

        A full disk takes the file and not the name of its owner. To an owner by a lease, an empty
        file is an owner that it cannot read.
        """
        with contextlib.suppress(OSError):
            if isinstance(self._lock, FileLock) and os.lstat(self.file).st_size == 0:
                directory, name = os.path.split(self._real_path)
                clear_unowned(directory, {name: []})

    def check(self) -> None:
        """Check that the lock is held, and its file at its path.

        Raises:
            LeaseLostError: The lock is not held, or the file is gone or another owner's.
            OSError: The path cannot be looked at.
        """
        self._lock.check()

    def release(self) -> None:
        """Release the lock and delete its file, without effect where it is not held."""
        self._lock.release()
