"""Owners: processes that use a database. A lock file and a heartbeat show that one is alive.

A process that uses a database holds a lock file beside it, which the kernel frees the moment the
process dies. One heartbeat renews the row of the process, for askers on other machines, see
`_liveness`. Processes of earlier releases compare `expires` with the clock since the machine's
start, so it is still written.
"""

from __future__ import annotations

import itertools
import os
import secrets
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiocheckpoint.errors import RunInProgressError
from aiocheckpoint.handlers._files.lock import FileLock
from aiocheckpoint.handlers.sqlite._liveness import (
    HEARTBEATS_PER_LEASE,
    OWNER_ID,
    Liveness,
    Owner,
    is_lock_held,
    owner_lock_files,
    owner_lock_path,
)
from aiocheckpoint.handlers.sqlite._statements import OWNER_ID_DIGITS, no_owner_id

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Owner", "Owners", "release_runs_of"]

_TRIES = 100
_PAUSE_SECONDS = 0.01
# The CASTs take values of other types, and text that is no UTF-8, which others have stored.
_FIND = (
    "SELECT id, CAST(host AS BLOB), CAST(boot AS BLOB), CAST(pid AS INTEGER), "
    "CAST(since AS BLOB), CAST(beat AS INTEGER), CAST(lease AS REAL) FROM owners WHERE id = ?"
)
_HEARTBEAT = (
    "INSERT INTO owners (id, host, boot, pid, since, beat, expires, lease) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE "
    "SET beat = excluded.beat, expires = excluded.expires"
)


class Owners:
    """This process among the owners of runs in one database.

    Args:
        path: Absolute path of the database.
        lease: Seconds after which other processes take the runs of this one, see `_liveness`.

    Attributes:
        id: Id of this process among the owners.
    """

    def __init__(self, path: str, lease: float) -> None:
        self._path = path
        self._lease = lease
        self._liveness = Liveness(path)
        self.id: str = secrets.token_hex(OWNER_ID_DIGITS // 2)
        self._lock = FileLock(owner_lock_path(self._path, self.id), self._path)
        self._beats = itertools.count(1)
        self._last_heartbeat = -float("inf")
        self._uncommitted_heartbeat = self._last_heartbeat

    @property
    def seconds_to_heartbeat(self) -> float:
        """Seconds until the next heartbeat is due."""
        due = self._last_heartbeat + self._lease / HEARTBEATS_PER_LEASE
        return due - time.monotonic()

    def heartbeat(self, connection: sqlite3.Connection) -> None:
        """Renew or insert this owner's row if a heartbeat is due, inside a transaction.

        Raises:
            StorageError: The lock file cannot be made.
        """
        if self.seconds_to_heartbeat > 0:
            return
        if self._lock.held:
            self._keep_lock()
        else:
            self._take_lock()
            self._remove_leftovers(connection)
        now = self._uncommitted_heartbeat = time.monotonic()
        since = datetime.now(UTC).isoformat(timespec="seconds")
        host, boot, pid = self._liveness.host, self._liveness.boot, os.getpid()
        # The count goes on where another process has deleted the row, so that no beat is repeated.
        beat, expires = next(self._beats), now + self._lease
        own = (self.id, host, boot, pid, since, beat, expires, self._lease)
        connection.execute(_HEARTBEAT, own)

    def committed(self) -> None:
        """Note that the transaction of the last heartbeat was committed."""
        self._last_heartbeat = self._uncommitted_heartbeat

    def unregister(self, connection: sqlite3.Connection) -> None:
        """Release all runs of this owner and delete its row."""
        if self._lock.held:
            release_runs_of(connection, self.id)

    def release(self) -> None:
        """Release the lock file."""
        self._lock.release()

    def _take_lock(self) -> None:
        # Another process may hold the new file for a moment, to find out whether it is a leftover.
        for _ in range(_TRIES):
            with suppress(RunInProgressError):
                self._lock.acquire()
                return
            time.sleep(_PAUSE_SECONDS)
        self._lock.acquire()

    def _keep_lock(self) -> None:
        """Keep the lock file young, for cleaners of old files, or make a deleted one again."""
        try:
            os.utime(owner_lock_path(self._path, self.id))
        except FileNotFoundError:
            self._lock.release()
            self._take_lock()
        except OSError:
            pass  # Its time matters to cleaners alone.

    def find(self, connection: sqlite3.Connection, owner_id: str) -> Owner | None:
        """The row of an owner, or None."""
        found = connection.execute(_FIND, (owner_id,)).fetchone()
        if found is None:
            return None
        row, host, boot, pid, since, beat, lease = found
        texts = _text(host), _text(boot), pid or 0, _text(since)
        return Owner(row, *texts, beat=beat or 0, lease=lease or 0.0)

    def expire_if_dead(self, connection: sqlite3.Connection, owner_id: str) -> Owner | None:
        """Free the runs of a dead owner, or give the row of a living one."""
        if not OWNER_ID.fullmatch(owner_id):
            _release_strange(connection)
            return None
        owner = self.find(connection, owner_id)
        if owner is not None and not self._is_dead(owner):
            return owner
        release_runs_of(connection, owner_id)
        return None

    def expire_dead(self, connection: sqlite3.Connection) -> None:
        """Free the runs of every dead owner, and runs of owners that cannot exist."""
        _release_strange(connection)
        ids = [owner_id for (owner_id,) in connection.execute("SELECT id FROM owners").fetchall()]
        self._liveness.forget_all_but(ids)
        for owner_id in ids:
            self.expire_if_dead(connection, owner_id)

    def _remove_leftovers(self, connection: sqlite3.Connection) -> None:
        """Remove the rows of dead owners, and lock files that have no row."""
        self.expire_dead(connection)
        with suppress(OSError):
            for owner_id, path in owner_lock_files(self._path):
                if owner_id != self.id:
                    is_lock_held(path, self._path)  # A free one is deleted.

    def _is_dead(self, owner: Owner) -> bool:
        return owner.id != self.id and self._liveness.is_gone(
            owner, owner_lock_path(self._path, owner.id)
        )


def release_runs_of(connection: sqlite3.Connection, owner_id: str) -> None:
    """Release all runs of an owner. Its leases become invalid."""
    for statement in (
        "DELETE FROM runs WHERE owner = ? AND status IS NULL",
        "UPDATE runs SET owner = NULL, token = 0 WHERE owner = ?",
        "DELETE FROM owners WHERE id = ?",
    ):
        connection.execute(statement, (owner_id,))


def _release_strange(connection: sqlite3.Connection) -> None:
    """Release the runs of owners whose id is none: it would be part of a path."""
    owner, owner_id = f"owner IS NOT NULL AND {no_owner_id('owner')}", no_owner_id("id")
    for statement in (
        f"DELETE FROM runs WHERE {owner} AND status IS NULL",  # noqa: S608 - constants
        f"UPDATE runs SET owner = NULL, token = 0 WHERE {owner}",  # noqa: S608
        f"DELETE FROM owners WHERE {owner_id}",  # noqa: S608
    ):
        connection.execute(statement)


def _text(stored: Any) -> str:  # noqa: ANN401 - bytes or None
    return (stored or b"").decode("utf-8", "replace")
