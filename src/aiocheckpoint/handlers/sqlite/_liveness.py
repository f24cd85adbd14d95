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
import time
from contextlib import suppress
from typing import NamedTuple

from aiocheckpoint.errors import RunInProgressError, StorageError
from aiocheckpoint.handlers._files.lock import FileLock
from aiocheckpoint.handlers.sqlite._statements import OWNER_ID_DIGITS

__all__ = [
    "HEARTBEATS_PER_LEASE",
    "OWNER_ID",
    "Liveness",
    "Owner",
    "is_lock_held",
    "owner_lock_files",
    "owner_lock_path",
]

HEARTBEATS_PER_LEASE = 3
OWNER_ID = re.compile(f"[0-9a-f]{{{OWNER_ID_DIGITS}}}")
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_SWITCHES = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")


class Owner(NamedTuple):
    """A row of the table of owners. `beat` changes with each heartbeat."""

    id: str
    host: str
    boot: str
    pid: int
    since: str
    beat: int
    lease: float


class _Watch(NamedTuple):
    """What this process saw of an owner, for how many seconds it stayed so, and the last look."""

    evidence: tuple[object, ...]
    seconds: float
    looked_at: float


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
        self._watched: dict[str, _Watch] = {}
        self.host: str = socket.gethostname()
        self.boot: str = _boot_id()

    def is_gone(self, owner: Owner, lock_path: str) -> bool:
        """Look at an owner other than this process. Each look counts as one of its watch."""
        if owner.host == self.host or (self.boot and owner.boot == self.boot):
            held = is_lock_held(lock_path, self._path)
            if held is not None:
                return not held or self._is_stopped(owner, lock_path)
        # The kernel does not tell of a lock file that this user may not open, either.
        evidence, most = (owner.beat,), owner.lease / HEARTBEATS_PER_LEASE
        return self._lasts_for_a_lease(owner, evidence, most)

    def forget_all_but(self, ids: list[str]) -> None:
        """Forget the looks at owners that are not among these."""
        self._watched = {key: self._watched[key] for key in ids if key in self._watched}

    def _is_stopped(self, owner: Owner, lock_path: str) -> bool:
        """Whether a signal has stopped the process of an owner for its whole lease."""
        switches = _switches_while_stopped(owner.pid)
        if switches is None or not _has_open(owner.pid, lock_path):
            self._watched.pop(owner.id, None)
            return False
        return self._lasts_for_a_lease(owner, (owner.beat, switches), math.inf)

    def _lasts_for_a_lease(
        self, owner: Owner, evidence: tuple[object, ...], most_seconds: float
    ) -> bool:
        """Note a look, and return whether the same was seen for longer than the owner's lease.

        Args:
            owner: The owner.
            evidence: What this look found.
            most_seconds: The most that counts between two looks.
        """
        now, seconds = time.monotonic(), 0.0
        before = self._watched.get(owner.id)
        if before is not None and before.evidence == evidence:
            seconds = before.seconds + min(now - before.looked_at, most_seconds)
        self._watched[owner.id] = _Watch(evidence, seconds, now)
        return seconds > owner.lease


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


def _switches_while_stopped(pid: int) -> tuple[str, ...] | None:
    """How often the system has switched to and from a process that a signal has stopped.

    The counts change when the process goes on, even for an instant. None for a process that runs,
    sleeps or is stopped by a debugger ("t"), and where the system does not say, see
    proc_pid_status(5).
    """
    facts: dict[str, str] = {}
    with suppress(OSError), open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        facts = {name: value.strip() for name, _, value in (line.partition(":") for line in file)}
    if not facts.get("State", "").startswith("T"):
        return None
    switches = tuple(facts[name] for name in _SWITCHES if name in facts)
    return switches if len(switches) == len(_SWITCHES) else None


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


def _boot_id() -> str:
    with suppress(OSError), open(_BOOT_ID, encoding="ascii") as file:
        return file.read().strip()
    return ""
