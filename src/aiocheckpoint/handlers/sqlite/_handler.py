"""The handler for the snapshots of many runs in one SQLite file.

`CheckpointFlow("sqlite:///runs.db")` makes it. Only then this module is imported.
"""

from __future__ import annotations

import io
import os
import re
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack

from aiocheckpoint._logging import log_left_out
from aiocheckpoint._model.checks import checked_number
from aiocheckpoint._snapshot.target import MemoryTarget
from aiocheckpoint.errors import (
    CheckpointError,
    InvalidValueError,
    LeaseLostError,
)
from aiocheckpoint.handlers._base import StateHandler
from aiocheckpoint.handlers._files.databases import file_identity
from aiocheckpoint.handlers._identifiers import (
    absolute_path,
    checked_path,
    checked_run_id,
    flow_name,
)
from aiocheckpoint.handlers._retention import Keep, checked_keep
from aiocheckpoint.handlers.sqlite._database import open_database
from aiocheckpoint.handlers.sqlite._history import retained
from aiocheckpoint.handlers.sqlite._lease import Lease
from aiocheckpoint.handlers.sqlite._listing import delete_pruned, listed
from aiocheckpoint.handlers.sqlite._requests import sql_text
from aiocheckpoint.handlers.sqlite._run_store import SqliteRunStore, split_snapshot

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.target import SnapshotTarget
    from aiocheckpoint.handlers._port import Lock, SnapshotOptions
    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers._run_store import RunStore
    from aiocheckpoint.handlers.sqlite._listing import Row
    from aiocheckpoint.handlers.sqlite._requests import LeaseRecord

__all__ = ["SqliteStateHandler"]

_SCHEME = "sqlite:///"
_CREDENTIALS = "//[^/]*@"
_SHORTEST_LEASE = 0.1


class SqliteStateHandler(StateHandler):
    """Keeps the snapshots of many runs in one SQLite file, for services.

    Writes go by group commit: the snapshots that wait at the same time, of any runs, share one
    transaction and its fsync. Any number of processes of one machine may use the file. Each run
    has one owner among them, which holds a lease. The lease ends at once where the owner's process
    dies. An owner that a signal has stopped for the length of its lease loses its runs. If it wakes
    up, it can write nothing. Any other living owner keeps its runs. A process that asks for them
    watches on its own clock, and needs two looks. An owner of another host name and boot id, as in
    a virtual machine, is watched by its heartbeats, and five looks are needed.

    The file is in SQLite's WAL mode, which network file systems do not support
    (https://www.sqlite.org/wal.html). While it is open, its "-wal" and "-shm" files are beside
    it, and a lock file "-owner-..." for each process that writes it.

    Args:
        path: The file, such as "runs.db", or its URL: "sqlite:///runs.db" for a relative path,
            "sqlite:////var/runs.db" for an absolute one. `~` is the user's home. Missing
            directories are made by the first run.
        fsync: Whether each write waits until the disk has it. With False, a power cut may lose
            the last transactions. The file stays whole.
        keep: How many snapshots of each run are kept, the newest included. "all" keeps every
            snapshot of the last run. See `LocalStateHandler`.
        lease: Seconds after which other processes take the runs of an owner that a signal has
            stopped, or whose heartbeats from another machine do not come.
        flow: Name of the flow, by default the file name without its ending. Flows of several
            names may share a file.
        options: `secret=`, `allow=` and `verify=`, see `SnapshotOptions`.

    Attributes:
        path: The path or URL given.
        fsync: Whether each write waits for the disk.
        keep: How many snapshots of each run are kept.
        lease: Length of a lease in seconds.
        flow: Name of the flow.
        key_ids: Ids of the secrets, as `Header.signed_by` has them.

    Raises:
        InvalidTypeError, InvalidValueError: `path` is no path, or an option is invalid.
        StorageError: `path` is relative, and the working directory was deleted.
    """

    _shown_options = (("fsync", True), ("keep", 1), ("lease", 30.0))

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fsync: bool = True,
        keep: Keep = 1,
        lease: float = 30.0,
        flow: str | None = None,
        **options: Unpack[SnapshotOptions],
    ) -> None:
        text = _file_of(checked_path(path))
        super().__init__(flow_name(text) if flow is None else flow, **options)
        self.path: str | os.PathLike[str] | None = path
        self.fsync: bool = fsync
        self.keep: Keep = checked_keep(keep)
        self.lease: float = _checked_lease(lease)
        self._path = os.path.realpath(absolute_path(text))
        self._flow_key = sql_text(self.flow)
        self._database = open_database(self._path, durable=fsync, lease=self.lease)

    def locate(self, run_id: str | None = None) -> str:
        """The file, the flow and the run, for messages."""
        run = "" if checked_run_id(run_id) is None else f", run {run_id!r}"
        return f"{self._path} (flow {self.flow!r}{run})"

    def lock(self, run_id: str | None = None) -> Lease:
        """The lease of a run, not yet taken."""
        return Lease(self._database, self._key(run_id), self.locate(run_id), self.keep)

    def run_store(self, run_id: str | None, backend: Backend) -> RunStore:
        """Make the run store of a run, which the engine uses."""
        return SqliteRunStore(self, run_id, backend)

    def open(
        self, run_id: str | None = None, kept: tuple[int, int] | None = None
    ) -> BinaryIO | None:
        """Read a run's newest snapshot, or a retained one, into memory.

        Raises:
            StorageError: The database cannot be read.
        """
        found = self._find(_NEWEST if kept is None else _RETAINED, run_id, *(kept or ()))
        return None if found is None else io.BytesIO(b"%b%b" % found)

    def kept(self, run_id: str | None = None) -> list[tuple[int, int]]:
        """List the retained snapshots of a run: number and sequence of each, newest first."""
        if self.keep == 1 or file_identity(self._path) is None:
            return []
        with self._database.reading() as connection:
            return retained(connection, self._key(run_id))

    def replace(
        self,
        run_id: str | None,
        write_to: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Replace a run's snapshot by the bytes that `write_to` writes.

        Raises:
            StorageError: It cannot be written and is as it was.
            LeaseLostError: `lock` is not held, or was lost.
            RunInProgressError: No `lock` is given, and another owner has it.
        """
        with self.hold_or_check(run_id, lock) as held:
            lease, memory = self._lease_of(run_id, held), MemoryTarget()
            header = write_to(memory)
            payload, footer = split_snapshot(memory, lease.record.location)
            lease.save(header, payload, footer, None, amends).wait()
            return header, len(payload) + len(footer)

    def _lease_of(self, run_id: str | None, lock: Lock) -> Lease:
        """Check that `lock` is the lease of this run, and return it."""
        if not isinstance(lock, Lease) or lock.record.key != self._key(run_id):
            raise LeaseLostError(self.locate(run_id))
        return lock

    def remove(self, run_id: str | None = None, *, lock: Lock | None = None) -> None:
        """Delete a run's row and its retained snapshots, if there are any.

        Raises:
            StorageError: They cannot be deleted.
            LeaseLostError: `lock` is not held, or was lost.
            RunInProgressError: No `lock` is given, and another owner has it.
        """
        with self.hold_or_check(run_id, lock) as held:
            self._database.call(partial(_delete, self._lease_of(run_id, held).record))

    def runs(self, query: Query) -> list[Header]:
        """List the headers of this flow's runs, the latest begun first.

        No state is read. `Header.owner` names the owner of a run in progress.

        Raises:
            StorageError: The database cannot be read.
        """
        if file_identity(self._path) is None:
            return []
        if query.unowned:
            self._database.expire_dead()
        headers: list[Header] = []
        last: Row | None = None
        while True:
            with self._database.reading() as connection:
                rows = listed(connection, self._key(None)[0], query, last)
            found = [header for row in rows if (header := self._header_of(row)) is not None]
            headers += found
            if query.limit is None or len(found) == len(rows):
                return headers
            # Runs left out are made up for, so that an empty page is always the last.
            query, last = query._replace(limit=query.limit - len(found)), rows[-1]

    def _header_of(self, row: Row) -> Header | None:
        try:
            location = self.locate(row.run_id)
            header = self.codec.peek(row.footer, row.payload_length, location)
            self.check_run(header, row.run_id, location)
        except CheckpointError as error:
            log_left_out(error)
            return None
        return row.completed(header)

    def prune(self, query: Query) -> int:
        """Delete the runs that a query asks for, except runs in progress, and give their number.

        Raises:
            StorageError: The database cannot be written.
        """
        count = 0
        if file_identity(self._path) is not None:
            self._database.expire_dead()
            while more := self._database.call(partial(delete_pruned, self._key(None)[0], query)):
                count += more
        return count

    def close(self) -> None:
        """Release the leases of all runs in progress, and close the file. The next use opens it.

        The end of the process does the same. All handlers of one file share its connection.
        """
        self._database.close()

    def _key(self, run_id: str | None) -> tuple[str | bytes, str | bytes]:
        return self._flow_key, sql_text(checked_run_id(run_id) or "")

    def _find(self, statement: str, run_id: str | None, *more: Any) -> Any:  # noqa: ANN401
        if file_identity(self._path) is None:
            return None
        with self._database.reading() as connection:
            return connection.execute(statement, (*self._key(run_id), *more)).fetchone()


# A value of another type, stored by another program, becomes ordinary damage. Without a payload
# and a footer that byte stays, as nothing at all would mean a run without a snapshot.
_NEWEST = (
    "SELECT coalesce(CAST(payload AS BLOB), x''), coalesce(CAST(footer AS BLOB), x'00') FROM runs "
    "WHERE flow = ? AND run_id = ? AND status IS NOT NULL"
)
_RETAINED = (
    "SELECT coalesce(CAST(kept.payload AS BLOB), x''), coalesce(CAST(kept.footer AS BLOB), x'00') "
    "FROM kept JOIN runs ON runs.id = kept.run "
    "WHERE flow = ? AND run_id = ? AND kept.number = ? AND kept.sequence = ?"
)


def _delete(lease: LeaseRecord, connection: sqlite3.Connection) -> None:
    """Empty the row of a run. Releasing the lease then deletes it."""
    done = connection.execute(
        "UPDATE runs SET status = NULL, footer = NULL, payload = NULL, started_at = NULL "
        "WHERE id = ? AND token = ?",
        (lease.row, lease.token),
    )
    if not done.rowcount:
        raise LeaseLostError(lease.location)
    connection.execute("DELETE FROM kept WHERE run = ?", (lease.row,))


def _file_of(text: str) -> str:
    """The file path in a path or URL."""
    if "://" not in text:
        return text
    if text.startswith(_SCHEME) and len(text) > len(_SCHEME):
        return text[len(_SCHEME) :]
    shown = re.sub(_CREDENTIALS, "//***@", text)
    raise InvalidValueError(
        f"{shown!r} names no file. Write sqlite:///runs.db for a path from the working directory, "
        "or sqlite:////var/lib/runs.db for one from the root."
    )


def _checked_lease(lease: object) -> float:
    seconds = checked_number("lease=", lease, "a number of seconds")
    if not _SHORTEST_LEASE <= seconds < float("inf"):
        raise InvalidValueError(f"lease={lease!r}: it is a number of seconds, at least 0.1.")
    return float(seconds)
