"""The lock of a run by a renewed lock file, for file systems without the kernel's locks.

An owner renews its file by heartbeats. An asker on the same machine and in the same container sees
the owner's process. It takes the run over when the process has ended, or when a signal has stopped
it for a whole lease, watched on the asker's own clock. Two looks are needed, a lease apart. Any
other living process keeps its run, whatever keeps it from renewing the file.

Any other asker takes the run over when no beat came for a whole lease. A gap between two looks
counts as a third of the lease at most, because in a longer one the owner may have been kept from
writing. So five looks are the least.

The fence has two parts. `check` looks at the file before each write. Between that look and the
rename behind it, an owner may be suspended for longer than its lease. So the successor deletes the
temporary files of the run before it begins, and the late rename finds nothing to rename.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
from typing import Any, NoReturn

from aiocheckpoint._errors.owner import describe_process
from aiocheckpoint.errors import LeaseLostError, RunInProgressError, StorageError
from aiocheckpoint.handlers._files.heartbeats import start_beating, stop_beating
from aiocheckpoint.handlers._files.lease_file import LeaseFile, overwrite
from aiocheckpoint.handlers._files.lease_owner import (
    NO_TOKEN,
    TOKEN_BYTES,
    LeaseOwner,
    parse_owner,
    this_process,
)
from aiocheckpoint.handlers._files.lock_owner import (
    OWNER_BYTES,
    lock_failed,
    not_regular,
)
from aiocheckpoint.handlers._files.processes import switches_while_stopped
from aiocheckpoint.handlers._files.watch import HEARTBEATS_PER_LEASE, Watches

__all__ = ["LeaseLock"]

_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS
_MODE = 0o600
_TRIES = 100
_watches = Watches()


class LeaseLock:
    """An exclusive lock between processes, of any machines that share the file system.

    Args:
        path: The lock file. Its directory exists when the lock is taken.
        location: The name of the locked object in messages.
        lease: Seconds without a beat after which others take the run.

    Attributes:
        file: The lock file.
        inherited: Whether the lock was taken from an owner that is gone.
    """

    def __init__(self, path: str, location: str, lease: float) -> None:
        self.file = path
        self._location = location
        self._lease = lease
        self._holding: LeaseFile | None = None
        self.inherited: bool = False

    @property
    def held(self) -> bool:
        """Whether the lock was taken and not released. A forked child holds none."""
        holding = self._holding
        return holding is not None and holding.owner.pid == os.getpid()

    def acquire(self) -> None:
        """Take the lock now.

        Raises:
            RunInProgressError: Another owner has it.
            StorageError: The lock file cannot be made, or something else is in its place.
        """
        if self.held:
            return
        self.forget()
        owner = this_process(self._lease, os.urandom(TOKEN_BYTES).hex())
        try:
            descriptor = self._take(owner)
        except StorageError:
            raise
        except OSError as error:
            raise lock_failed(self.file, self._location, error) from error
        self._holding = LeaseFile(descriptor, owner)
        _watches.forget(self.file)
        try:
            start_beating(self, self._lease / HEARTBEATS_PER_LEASE)
        except BaseException:
            self.release()
            raise

    def check(self) -> None:
        """Check that the lock is held, and that its file at its path names this owner.

        Raises:
            LeaseLostError: The lock is not held, or the file is gone or another owner's.
            OSError: The file cannot be read.
        """
        holding = self._holding
        if not self.held or holding is None:
            raise LeaseLostError(self._location)
        found = self._read()
        other = None if found is None else parse_owner(found)
        if other is None:
            raise LeaseLostError(
                self._location,
                f"another program deleted or replaced its lock file {self.file} or moved its "
                "directory (exclude them from any cleaning)",
            )
        if other.token != holding.owner.token:
            raise LeaseLostError(
                self._location,
                f"no heartbeat of this process came for lease={self._lease:g} seconds (was it "
                f"suspended?), and {describe_process(other.pid, other.host)} has taken the run",
            )

    def owner(self) -> dict[str, Any] | None:
        """The owner that the file names, unless it is provably gone: pid, host and time.

        Raises:
            OSError: The file cannot be read.
            StorageError: It is no regular file.
        """
        content = self._read()
        found = None if content is None else parse_owner(content)
        if found is None or found.is_gone():
            return None
        return {"pid": found.pid, "host": found.host, "since": found.since}

    def lease_found(self) -> float | None:
        """The length of the lease that the file names, also of an owner that is gone.

        Raises:
            StorageError: It cannot be read, or is no regular file.
        """
        try:
            content = self._read()
        except StorageError:
            raise
        except OSError as error:
            raise lock_failed(self.file, self._location, error) from error
        found = None if content is None else parse_owner(content)
        return None if found is None else found.lease

    def beat(self) -> None:
        """Renew the lock file. A failed beat is repeated with the next one.

        The file is written through its own descriptor, so that a successor's file stays.
        """
        holding = self._holding
        if holding is not None:
            holding.beat()

    def release(self) -> None:
        """Release the lock and delete its file, without effect where it is not held.

        The file of another owner stays. A file that cannot be deleted names no owner any more, as
        this process lives on.
        """
        if self._holding is None:
            return
        stop_beating(self)
        try:
            if self.held:
                self._delete_file(self._holding)
        finally:
            self.forget()

    def _delete_file(self, holding: LeaseFile) -> None:
        try:
            with contextlib.suppress(LeaseLostError):
                self.check()
                os.unlink(self.file)
        except OSError:
            holding.empty()

    def forget(self) -> None:
        """Close the file, and renew it no more. A beat under way closes it at its end."""
        stop_beating(self)
        holding, self._holding = self._holding, None
        if holding is not None:
            holding.end()

    def forget_parent(self) -> None:
        """Close the file in a forked child, where no beat is under way any more."""
        holding, self._holding = self._holding, None
        if holding is not None:
            holding.close()

    def _take(self, owner: LeaseOwner) -> int:
        """Create the lock file, or replace that of an owner that is gone; give its descriptor."""
        for _ in range(_TRIES):
            with contextlib.suppress(FileExistsError):
                self.inherited = False
                return _make(self.file, owner)
            content = self._read()
            if content is not None:
                return self._succeed(content, owner)
        raise RunInProgressError(self._location)

    def _succeed(self, content: bytes, owner: LeaseOwner) -> int:
        """Take the lock from an owner that is gone, or raise RunInProgressError."""
        before = parse_owner(content)
        if before is None or not before.is_gone():
            self._refuse_unless_lost(content, before)
        # No one else takes over from the same owner meanwhile. The name is that of a temporary
        # file of the run, so that its next owner deletes one that was left behind.
        successor = f"{self.file.removesuffix('.lock')}.{_token_of(before)}.tmp"
        try:
            descriptor = _make(successor, owner)
        except FileExistsError:
            self._clear_successor(successor)
            self._refuse(before, self._lease)
        try:
            if self._read() != content:
                self._refuse(before, self._lease)
            os.replace(successor, self.file)
        except BaseException:
            os.close(descriptor)
            _unlink(successor)
            raise
        self.inherited = True
        return descriptor

    def _refuse_unless_lost(self, content: bytes, owner: LeaseOwner | None) -> None:
        """Note a look at another owner, and raise RunInProgressError unless it lost the run."""
        lease = self._lease if owner is None else owner.lease
        evidence: tuple[object, ...] = content, _change_of(self.file)
        most_seconds = lease / HEARTBEATS_PER_LEASE
        if owner is not None and owner.is_seen():
            switches = switches_while_stopped(owner.pid)
            if switches is None:
                _watches.forget(self.file)
                self._refuse(owner, None)
            evidence, most_seconds = (content, switches), math.inf
        seconds = _watches.seconds_unchanged(self.file, evidence, most_seconds)
        if seconds <= lease:
            self._refuse(owner, lease - seconds)

    def _clear_successor(self, path: str) -> None:
        """Delete the file of a successor that died before it had the lock."""
        seconds = _watches.seconds_unchanged(
            path, _change_of(path), self._lease / HEARTBEATS_PER_LEASE
        )
        if seconds > self._lease:
            _watches.forget(path)
            _unlink(path)

    def _refuse(self, owner: LeaseOwner | None, lease_left: float | None) -> NoReturn:
        if owner is None:
            raise RunInProgressError(self._location, lease_left=lease_left)
        raise RunInProgressError(
            self._location,
            pid=owner.pid,
            host=owner.host,
            since=owner.since,
            lease_left=lease_left,
        )

    def _read(self) -> bytes | None:
        """Read the file anew: opening it makes network file systems look at the server."""
        try:
            descriptor = os.open(self.file, os.O_RDONLY | _FLAGS)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise not_regular(self.file, self._location)
            return os.read(descriptor, OWNER_BYTES)
        finally:
            os.close(descriptor)


def _make(path: str, owner: LeaseOwner) -> int:
    """Create a lock file that names an owner, and give its descriptor."""
    descriptor = os.open(path, _CREATE, _MODE)
    try:
        overwrite(descriptor, owner)
    except BaseException:
        os.close(descriptor)
        _unlink(path)
        raise
    return descriptor


def _token_of(owner: LeaseOwner | None) -> str:
    return NO_TOKEN if owner is None else owner.token


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _change_of(path: str) -> tuple[int, int] | None:
    """The inode and time of change of a file, to be compared with itself alone."""
    with contextlib.suppress(OSError):
        found = os.lstat(path)
        return found.st_ino, found.st_mtime_ns
    return None
