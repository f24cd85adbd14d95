"""Who owns runs in a database: a process, for as long as it lives and says so.

A process that uses a database holds a lock file beside it, which the kernel frees the moment it
dies, and renews one row for all of its runs. Others on this machine ask the kernel; whoever is
suspended, or on another machine, is gone when it has not renewed its row for the length of its
lease. No wall clock is asked: on one machine since one start all processes share the monotonic
clock (clock_gettime(2)), and of other machines the row is watched, on the watcher's own clock.
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
_BEATS_IN_A_LEASE = 3
_TRIES = 100
_PAUSE_SECONDS = 0.01


class Owner(NamedTuple):
    """A row of the table of owners."""

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
        lease: Seconds after which an owner that does not renew its row is gone.

    Attributes:
        id: This owner's id.
    """

    def __init__(self, path: str, lease: float) -> None:
        self._path = path
        self._lease = lease
        self._host, self._boot = socket.gethostname(), _boot_id()
        self._watched: dict[str, tuple[int, float]] = {}
        self.forget()

    def forget(self) -> None:
        """Become another owner, as in a forked child."""
        self.id = secrets.token_hex(8)
        self._lock = FileLock(self._lock_path(self.id), self._path)
        self._renewed = -float("inf")
        self._renewing = self._renewed

    @property
    def seconds_left(self) -> float:
        """Seconds until the row is to be renewed."""
        return self._renewed + self._lease / _BEATS_IN_A_LEASE - time.monotonic()

    def renew(self, connection: sqlite3.Connection) -> None:
        """Renew the row if it is time to, or make it, inside a transaction.

        Raises:
            StorageError: The lock file cannot be made.
        """
        if self.seconds_left > 0:
            return
        if not self._lock.held:
            self._take_lock()
            self._clear_up(connection)
        self._renewing = time.monotonic()
        expires = self._renewing + self._lease
        since = datetime.now(UTC).isoformat(timespec="seconds")
        own = Owner(self.id, self._host, self._boot, os.getpid(), since, 1, expires, self._lease)
        connection.execute(
            "INSERT INTO owners VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE "
            "SET beat = beat + 1, expires = excluded.expires",
            own,
        )

    def committed(self) -> None:
        """Note that the transaction of the last `renew` went through."""
        self._renewed = self._renewing

    def rolled_back(self) -> None:
        """Note that it did not."""
        self._renewing = self._renewed

    def unregister(self, connection: sqlite3.Connection) -> None:
        """Give back all runs and delete the row, in one statement after the other."""
        if self._lock.held:
            release_runs_of(connection, self.id)

    def release(self) -> None:
        """Give back the lock file; the next `renew` begins anew."""
        self._lock.release()
        self._renewed = self._renewing = -float("inf")

    def _take_lock(self) -> None:
        # Another process may be finding out whether the new file is one that was left.
        for _ in range(_TRIES):
            with suppress(RunInProgressError):
                self._lock.acquire()
                return
            time.sleep(_PAUSE_SECONDS)
        self._lock.acquire()

    def find(self, connection: sqlite3.Connection, owner_id: str) -> Owner | None:
        """The row of an owner, or None where it has gone for good."""
        found = connection.execute("SELECT * FROM owners WHERE id = ?", (owner_id,)).fetchone()
        return None if found is None else Owner(*found)

    def expire_if_dead(self, connection: sqlite3.Connection, owner_id: str) -> Owner | None:
        """Free the runs of an owner that is gone, or give its row where it is not."""
        owner = self.find(connection, owner_id)
        if owner is not None and not self._is_gone(owner):
            return owner
        release_runs_of(connection, owner_id)
        self._watched.pop(owner_id, None)
        return None

    def expire_dead(self, connection: sqlite3.Connection) -> None:
        """Free the runs of every owner that is gone."""
        for (owner_id,) in connection.execute("SELECT id FROM owners").fetchall():
            self.expire_if_dead(connection, owner_id)

    def _clear_up(self, connection: sqlite3.Connection) -> None:
        """Take away what is left of owners that are gone, and had no runs left or no row yet."""
        self.expire_dead(connection)
        start, own = self._lock_path(""), self._lock_path(self.id)
        directory, name = os.path.split(start)
        with suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith(name) and entry.path != own:
                    self._is_free(entry.path)

    def _is_gone(self, owner: Owner) -> bool:
        if owner.id == self.id:
            return False
        near = owner.host == self._host or (owner.boot == self._boot and self._boot != "")
        if near and self._is_free(self._lock_path(owner.id)):
            return True
        if self._boot and owner.boot == self._boot:
            return time.monotonic() > owner.expires
        return self._is_silent(owner)

    def _is_free(self, path: str) -> bool:
        """Whether nobody holds a lock file any more, which is deleted then."""
        if not os.path.exists(path):
            return True
        lock = FileLock(path, self._path)
        with suppress(RunInProgressError, StorageError):
            lock.acquire()
            lock.release()
            return True
        return False

    def _is_silent(self, owner: Owner) -> bool:
        """Whether it has not renewed its row for as long as its lease, while it was watched."""
        now = time.monotonic()
        beat, since = self._watched.get(owner.id, (None, now))
        if beat != owner.beat:
            since = now
        self._watched[owner.id] = owner.beat, since
        return now - since > owner.lease

    def _lock_path(self, owner_id: str) -> str:
        return f"{self._path}-owner-{owner_id}"


def release_runs_of(connection: sqlite3.Connection, owner_id: str) -> None:
    """Free all runs of an owner, so that nothing it still holds is worth anything."""
    for statement in (
        "DELETE FROM runs WHERE owner = ? AND status IS NULL",
        "UPDATE runs SET owner = NULL, token = 0 WHERE owner = ?",
        "DELETE FROM owners WHERE id = ?",
    ):
        connection.execute(statement, (owner_id,))


def _boot_id() -> str:
    """What the kernel calls this start of this machine; empty where it does not tell."""
    with suppress(OSError), open(_BOOT_ID, encoding="ascii") as file:
        return file.read().strip()
    return ""
