"""Owners: processes that use a database. A lock file and a heartbeat show that one is alive.

A process that uses a database holds a lock file beside it, which the kernel frees the moment the
process dies. One heartbeat renews the lease of all its runs. Other processes of this machine ask
the kernel. An owner that is suspended, or on another machine, counts as dead when its heartbeats
stop for the length of its lease. No wall clock is read. All processes of one machine share the
monotonic clock since its start (clock_gettime(2)). The heartbeats of other machines are watched on
the watcher's own clock.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint.errors import RunInProgressError, StorageError
from aiocheckpoint.handlers._files.lock import FileLock

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Owner", "Owners", "release_runs_of"]

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_HEARTBEATS_PER_LEASE = 3
_TRIES = 100
_PAUSE_SECONDS = 0.01


class Owner(NamedTuple):
    """A row of the table of owners. `beat` counts its heartbeats."""

    id: str
    host: str
    boot: str
    pid: int
    since: str
    beat: int
    expires: float
    lease: float


class Owners:
    """This process among the owners of runs in one database.

    Args:
        path: Absolute path of the database.
        lease: Seconds without a heartbeat after which an owner counts as dead.

    Attributes:
        id: Id of this process among the owners.
    """

    def __init__(self, path: str, lease: float) -> None:
        self._path = path
        self._lease = lease
        self._host, self._boot = socket.gethostname(), _boot_id()
        self._watched: dict[str, tuple[int, float]] = {}
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Become another owner."""
        self.id = secrets.token_hex(8)
        self._lock = FileLock(self._lock_path(self.id), self._path)
        self._last_heartbeat = -float("inf")
        self._uncommitted_heartbeat = self._last_heartbeat

    @property
    def seconds_to_heartbeat(self) -> float:
        """Seconds until the next heartbeat is due."""
        due = self._last_heartbeat + self._lease / _HEARTBEATS_PER_LEASE
        return due - time.monotonic()

    def heartbeat(self, connection: sqlite3.Connection) -> None:
        """Renew or insert this owner's row if a heartbeat is due, inside a transaction.

        Raises:
            StorageError: The lock file cannot be made.
        """
        if self.seconds_to_heartbeat > 0:
            return
        if not self._lock.held:
            self._take_lock()
            self._remove_leftovers(connection)
        now = self._uncommitted_heartbeat = time.monotonic()
        since = datetime.now(UTC).isoformat(timespec="seconds")
        own = Owner(
            *(self.id, self._host, self._boot, os.getpid(), since, 1, now + self._lease),
            lease=self._lease,
        )
        connection.execute(
            "INSERT INTO owners VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE "
            "SET beat = beat + 1, expires = excluded.expires",
            own,
        )

    def committed(self) -> None:
        """Note that the transaction of the last heartbeat was committed."""
        self._last_heartbeat = self._uncommitted_heartbeat

    def rolled_back(self) -> None:
        """Note that the transaction of the last heartbeat was rolled back."""
        self._uncommitted_heartbeat = self._last_heartbeat

    def unregister(self, connection: sqlite3.Connection) -> None:
        """Release all runs of this owner and delete its row."""
        if self._lock.held:
            release_runs_of(connection, self.id)

    def release(self) -> None:
        """Release the lock file. The next heartbeat takes it again."""
        self._lock.release()
        self._last_heartbeat = self._uncommitted_heartbeat = -float("inf")

    def _take_lock(self) -> None:
        # Another process may hold the new file for a moment, to find out whether it is a leftover.
        for _ in range(_TRIES):
            with suppress(RunInProgressError):
                self._lock.acquire()
                return
            time.sleep(_PAUSE_SECONDS)
        self._lock.acquire()

    def find(self, connection: sqlite3.Connection, owner_id: str) -> Owner | None:
        """The row of an owner, or None."""
        found = connection.execute("SELECT * FROM owners WHERE id = ?", (owner_id,)).fetchone()
        return None if found is None else Owner(*found)

    def expire_if_dead(self, connection: sqlite3.Connection, owner_id: str) -> Owner | None:
        """Free the runs of a dead owner, or give the row of a living one."""
        owner = self.find(connection, owner_id)
        if owner is not None and not self._is_dead(owner):
            return owner
        release_runs_of(connection, owner_id)
        self._watched.pop(owner_id, None)
        return None

    def expire_dead(self, connection: sqlite3.Connection) -> None:
        """Free the runs of every dead owner."""
        for (owner_id,) in connection.execute("SELECT id FROM owners").fetchall():
            self.expire_if_dead(connection, owner_id)

    def _remove_leftovers(self, connection: sqlite3.Connection) -> None:
        """Remove the rows of dead owners, and lock files that have no row."""
        self.expire_dead(connection)
        start, own = self._lock_path(""), self._lock_path(self.id)
        directory, name = os.path.split(start)
        with suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith(name) and entry.path != own:
                    self._is_free(entry.path)

    def _is_dead(self, owner: Owner) -> bool:
        if owner.id == self.id:
            return False
        near = owner.host == self._host or (owner.boot == self._boot and self._boot != "")
        if near and self._is_free(self._lock_path(owner.id)):
            return True
        if self._boot and owner.boot == self._boot:
            return time.monotonic() > owner.expires
        return self._heartbeats_stopped(owner)

    def _is_free(self, path: str) -> bool:
        """Whether no process holds a lock file. A free one is deleted."""
        if not os.path.exists(path):
            return True
        lock = FileLock(path, self._path)
        with suppress(RunInProgressError, StorageError):
            lock.acquire()
            lock.release()
            return True
        return False

    def _heartbeats_stopped(self, owner: Owner) -> bool:
        """Whether this process has seen no heartbeat of an owner for the length of its lease."""
        now = time.monotonic()
        beat, since = self._watched.get(owner.id, (None, now))
        if beat != owner.beat:
            since = now
        self._watched[owner.id] = owner.beat, since
        return now - since > owner.lease

    def _lock_path(self, owner_id: str) -> str:
        return f"{self._path}-owner-{owner_id}"


def release_runs_of(connection: sqlite3.Connection, owner_id: str) -> None:
    """Release all runs of an owner. Its leases become invalid."""
    for statement in (
        "DELETE FROM runs WHERE owner = ? AND status IS NULL",
        "UPDATE runs SET owner = NULL, token = 0 WHERE owner = ?",
        "DELETE FROM owners WHERE id = ?",
    ):
        connection.execute(statement, (owner_id,))


def _boot_id() -> str:
    """The kernel's id of this start of the machine. Empty where the system has none."""
    with suppress(OSError), open(_BOOT_ID, encoding="ascii") as file:
        return file.read().strip()
    return ""
