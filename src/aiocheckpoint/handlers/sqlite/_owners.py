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

    from aiocheckpoint._model.start_record import Loss

__all__ = ["Owner", "Owners", "release_runs_of"]

_TRIES = 100
_PAUSE_SECONDS = 0.01
# The CASTs take values of other types, and text that is no UTF-8, which others have stored.
_FIND = (
    "SELECT id, CAST(host AS BLOB), CAST(boot AS BLOB), CAST(pid AS INTEGER), "
    "CAST(since AS BLOB), CAST(beat AS INTEGER), CAST(lease AS REAL), "
    "id IN (SELECT id FROM draining_owners) FROM owners WHERE id = ?"
)
_HEARTBEAT = (
    "INSERT INTO owners (id, host, boot, pid, since, beat, expires, lease) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE "
    "SET beat = excluded.beat, expires = excluded.expires"
)

# One step of the index for each owner. The rows of all runs in progress would be read every second.
_EACH_OWNER = (
    "WITH RECURSIVE each_one (owner) AS ("
    "SELECT min(owner) FROM runs WHERE owner IS NOT NULL UNION ALL "
    "SELECT (SELECT min(owner) FROM runs WHERE owner IS NOT NULL AND runs.owner > each_one.owner) "
    "FROM each_one WHERE each_one.owner IS NOT NULL) "
    "SELECT owner FROM each_one WHERE owner IS NOT NULL"
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
        self._is_draining = False
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

    def note_draining(self, connection: sqlite3.Connection) -> None:
        """Note that this owner has begun to drain, inside a transaction.

        If it is killed now, the starts of its runs do not count.
        """
        self._is_draining = True
        connection.execute("INSERT OR IGNORE INTO draining_owners VALUES (?)", (self.id,))

    def committed(self) -> None:
        """Note that the transaction of the last heartbeat was committed."""
        self._last_heartbeat = self._uncommitted_heartbeat

    def unregister(self, connection: sqlite3.Connection) -> None:
        """Release all runs of this owner and delete its row."""
        if self._lock.held:
            release_runs_of(connection, self.id, "drained" if self._is_draining else None)

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
        row, host, boot, pid, since, beat, lease, drains = found
        texts = _text(host), _text(boot), pid or 0, _text(since)
        return Owner(row, *texts, beat=beat or 0, lease=lease or 0.0, draining=bool(drains))

    def expire_if_dead(self, connection: sqlite3.Connection, owner_id: str) -> Owner | None:
        """Free the runs of a dead owner, or give the row of a living one."""
        if not OWNER_ID.fullmatch(owner_id):
            _release_strange(connection)
            return None
        found = self.find(connection, owner_id)
        owner = None if found is None else self._look(found)
        if owner is None:
            drained = found is not None and found.draining
            release_runs_of(connection, owner_id, "drained" if drained else "killed")
        return owner

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

    def _look(self, owner: Owner) -> Owner | None:
        if owner.id == self.id:
            return owner
        return self._liveness.look(owner, owner_lock_path(self._path, owner.id))


def release_runs_of(connection: sqlite3.Connection, owner_id: str, loss: Loss | None) -> None:
    """Release all runs of an owner. Its leases become invalid.

    Args:
        connection: The database, in a transaction.
        owner_id: The owner.
        loss: What became of it, or None where it gives its runs back itself.
    """
    connection.execute("DELETE FROM runs WHERE owner = ? AND status IS NULL", (owner_id,))
    connection.execute(
        "UPDATE runs SET owner = NULL, token = 0, lost = coalesce(?, lost) WHERE owner = ?",
        (loss, owner_id),
    )
    connection.execute("DELETE FROM owners WHERE id = ?", (owner_id,))
    connection.execute("DELETE FROM draining_owners WHERE id = ?", (owner_id,))


def _release_strange(connection: sqlite3.Connection) -> None:
    """Release the runs of owners whose id is none: it would be part of a path."""
    condition = no_owner_id("owner")
    strange = f"owner IN (SELECT owner FROM ({_EACH_OWNER}) WHERE {condition})"  # noqa: S608
    for statement in (
        f"DELETE FROM runs WHERE {strange} AND status IS NULL",  # noqa: S608 - constants
        f"UPDATE runs SET owner = NULL, token = 0 WHERE {strange}",  # noqa: S608
        f"DELETE FROM owners WHERE {no_owner_id('id')}",  # noqa: S608
    ):
        connection.execute(statement)


def _text(stored: Any) -> str:  # noqa: ANN401 - bytes or None
    return (stored or b"").decode("utf-8", "replace")
