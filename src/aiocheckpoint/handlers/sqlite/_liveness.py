"""Which owners of runs are gone: the kernel's locks decide, and the looks of one process.

On one machine the lock file of an owner decides, which the kernel frees the moment the owner dies.
A held lock means a living owner, also where it could renew nothing: another program held the
database, a call held the interpreter, or a debugger stopped it. Only an owner that a signal has
stopped for its whole lease is gone with its lock held. Two looks are needed, a lease apart.

An owner on another machine is gone when no heartbeat came for its lease. A gap between two looks
counts as a third of the lease at most, because the owner may have been kept from writing in a
longer one. Five looks are the least.

All times are those of this process's monotonic clock. No clock of another process is compared,
because containers may have clocks of their own (time_namespaces(7)).
"""

from __future__ import annotations

import math
import os
import re
import socket
from contextlib import suppress
from typing import NamedTuple

from aiocheckpoint.errors import RunInProgressError, StorageError
from aiocheckpoint.handlers._files.lock import FileLock
from aiocheckpoint.handlers._files.processes import boot_id, switches_while_stopped
from aiocheckpoint.handlers._files.watch import HEARTBEATS_PER_LEASE, Watches
from aiocheckpoint.handlers.sqlite._statements import OWNER_ID_DIGITS

__all__ = [
    "HEARTBEATS_PER_LEASE",
    "OWNER_ID",
    "Liveness",
    "Owner",
    "OwnerLooks",
    "is_lock_held",
    "owner_lock_files",
    "owner_lock_path",
]

OWNER_ID = re.compile(f"[0-9a-f]{{{OWNER_ID_DIGITS}}}")


class Owner(NamedTuple):
    """A row of the table of owners.

    Attributes:
        id: Its id.
        host, boot, pid, since: The process.
        beat: Changes with each heartbeat.
        lease: Seconds without a sign of life after which others take its runs.
        lease_left: Seconds that are left of them, by the looks of this process. None where the
            owner is alive, so that none are counted.
    """

    id: str
    host: str
    boot: str
    pid: int
    since: str
    beat: int
    lease: float
    lease_left: float | None = None
    draining: bool = False

    @property
    def end_is_seen(self) -> bool:
        """False: where seconds are counted, nothing else shows the end of the process."""
        return False


class Liveness:
    """Decides which owners of one database are gone.

    Args:
        path: Absolute path of the database.

    Attributes:
        host: The name of this machine, or container.
        boot: The kernel's id of this start of the machine. Empty where the system has none.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._watches = Watches()
        self.host: str = socket.gethostname()
        self.boot: str = boot_id()

    def look(self, owner: Owner, lock_path: str) -> Owner | None:
        """Look at an owner other than this process. Each look counts as one of its watch.

        Returns:
            The owner with its `lease_left`, or None where it is gone.
        """
        if owner.host == self.host or (self.boot and owner.boot == self.boot):
            held = is_lock_held(lock_path, self._path)
            if held is not None:
                return self._look_if_stopped(owner, lock_path) if held else None
        # The kernel does not tell of a lock file that this user may not open, either.
        return self._watched(owner, (owner.beat,), owner.lease / HEARTBEATS_PER_LEASE)

    def forget_all_but(self, ids: list[str]) -> None:
        """Forget the looks at owners that are not among these."""
        self._watches.forget_all_but(ids)

    def _look_if_stopped(self, owner: Owner, lock_path: str) -> Owner | None:
        """Watch an owner that holds its lock, if a signal has stopped its process."""
        switches = switches_while_stopped(owner.pid)
        if switches is None or not _has_open(owner.pid, lock_path):
            self._watches.forget(owner.id)
            return owner
        return self._watched(owner, (owner.beat, switches), math.inf)

    def _watched(
        self, owner: Owner, evidence: tuple[object, ...], most_seconds: float
    ) -> Owner | None:
        """Note a look. The owner is gone where the same was seen for longer than its lease.

        Args:
            owner: The owner.
            evidence: What this look found.
            most_seconds: The most that counts between two looks.
        """
        seconds = self._watches.seconds_unchanged(owner.id, evidence, most_seconds)
        return None if seconds > owner.lease else owner._replace(lease_left=owner.lease - seconds)


class OwnerLooks:
    """One look at each owner of a list. Nothing is taken or deleted.

    Args:
        path: Absolute path of the database.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._here = socket.gethostname(), boot_id()
        self._seen: dict[str, bool] = {}

    def may_live(self, owner_id: str, host: str, boot: str) -> bool:
        """Whether an owner lives, or is on another machine, where one look cannot tell."""
        if owner_id not in self._seen:
            self._seen[owner_id] = self._look(owner_id, host, boot)
        return self._seen[owner_id]

    def _look(self, owner_id: str, host: str, boot: str) -> bool:
        if not OWNER_ID.fullmatch(owner_id):
            return False
        if host != self._here[0] and not (boot and boot == self._here[1]):
            return True
        try:
            return FileLock(owner_lock_path(self._path, owner_id), self._path).owner() is not None
        except OSError:
            return True


def owner_lock_path(path: str, owner_id: str) -> str:
    """The lock file of an owner, beside the database."""
    return f"{path}-owner-{owner_id}"


def owner_lock_files(path: str) -> list[tuple[str, str]]:
    """List the lock files beside a database: the owner's id and the path of each.

    Raises:
        OSError: The directory cannot be read.
    """
    directory, start = os.path.split(owner_lock_path(path, ""))
    with os.scandir(directory) as entries:
        found = [(entry.name.removeprefix(start), entry) for entry in entries]
    return [
        (owner_id, entry.path)
        for owner_id, entry in found
        if owner_id != entry.name and OWNER_ID.fullmatch(owner_id)
    ]


def is_lock_held(path: str, location: str) -> bool | None:
    """Whether a process holds a lock file. None where that cannot be found out.

    A free lock file is deleted.

    Args:
        path: The lock file.
        location: The name of the locked object in messages.
    """
    if not os.path.lexists(path):
        return False
    lock = FileLock(path, location)
    try:
        lock.acquire()
    except RunInProgressError:
        return True
    except StorageError:
        return None
    lock.release()
    return False


def _has_open(pid: int, path: str) -> bool:
    """Whether a process has a file open, so that its number means the process that locked it.

    In another container, or after the number was used again, it means a process that has not.
    """
    folder = f"/proc/{pid}/fd"
    with suppress(OSError):
        file = os.stat(path)
        for name in os.listdir(folder):
            link = f"{folder}/{name}"
            # Other files are not looked at: their file system may not answer.
            if os.readlink(link).endswith(os.path.basename(path)):
                with suppress(OSError):
                    if os.path.samestat(os.stat(link), file):
                        return True
    return False
