"""Snapshots of many runs in one SQLite file, written together.

`CheckpointFlow("sqlite:///runs.db")` makes the handler; this module is imported only then.
"""

from __future__ import annotations

import io
import os
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack

from aiocheckpoint._logging import log_left_out
from aiocheckpoint._snapshot.footer import split
from aiocheckpoint._snapshot.target import MemoryTarget
from aiocheckpoint.errors import (
    CheckpointError,
    InvalidTypeError,
    InvalidValueError,
    LeaseLostError,
    StorageError,
)
from aiocheckpoint.handlers._base import StateHandler
from aiocheckpoint.handlers._identifiers import check_path, check_run_id, flow_name
from aiocheckpoint.handlers._retention import Keep, check_keep
from aiocheckpoint.handlers.sqlite import _history
from aiocheckpoint.handlers.sqlite._lease import Lease
from aiocheckpoint.handlers.sqlite._listing import delete_pruned, listed
from aiocheckpoint.handlers.sqlite._requests import sql_text
from aiocheckpoint.handlers.sqlite._run_store import SqliteRunStore
from aiocheckpoint.handlers.sqlite._schema import LARGEST_BYTES
from aiocheckpoint.handlers.sqlite._store import open_store

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

__all__ = ["SqliteStateHandler"]

_SCHEME = "sqlite:///"
_SHORTEST_LEASE = 0.1


class SqliteStateHandler(StateHandler):
    """Keeps the snapshots of many runs in one SQLite file, for services.

    Snapshots that are waiting at the same time, of whatever runs, are written in one transaction
    and share its flush to the disk. Any number of processes of one machine may use the file; each
    run has one owner among them. The owner's lease ends at once where its process dies on this
    machine. An owner that is suspended, or was on another machine, is gone when it has not
    renewed its lease for its length; should it wake up, it can write nothing.

    The file is in SQLite's WAL mode, which network file systems do not support
    (https://www.sqlite.org/wal.html). Beside it lie its "-wal" and "-shm" files while it is open,
    and a lock file "-owner-..." for each process that uses it.

    Args:
        path: The file, such as "runs.db", or its URL: "sqlite:///runs.db" for a relative path,
            "sqlite:////var/runs.db" for an absolute one. `~` is the user's home. Missing
            directories are made by the first run.
        fsync: Whether each write waits until the disk has it. False gives up what a power cut
            takes, the last transactions, never that the file is whole.
        keep: How many snapshots of each run there are, the newest included; "all" keeps each of
            the last passage through the steps. See `LocalStateHandler`.
        lease: Seconds after which an owner that is suspended, or on another machine, is gone.
        flow: Name of the flow, by default the file name without its ending. Flows of several
            names may share a file.
        options: `secret=`, `allow=` and `verify=`, see `SnapshotOptions`.

    Attributes:
        path: The path as it was given.
        fsync: As it was given.
        keep: As it was given.
        lease: As it was given.
        flow: Name of the flow.
        key_ids: Ids of the secrets, as `Header.signed_by` has them.

    Raises:
        InvalidTypeError, InvalidValueError: `path` is no path, or an option cannot be meant.
    """

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
        text = _file_of(check_path(path))
        super().__init__(flow_name(text) if flow is None else flow, **options)
        self.path: str | os.PathLike[str] = path
        self.fsync: bool = fsync
        self.keep: Keep = check_keep(keep)
        self.lease: float = _checked_lease(lease)
        self._path = os.path.realpath(os.path.expanduser(text))
        self._flow_key = sql_text(self.flow)
        self._store = open_store(self._path, durable=fsync, lease=self.lease)

    def locate(self, run_id: str | None = None) -> str:
        """The file, and which run in it."""
        run = "" if check_run_id(run_id) is None else f", run {run_id!r}"
        return f"{self._path} (flow {self.flow!r}{run})"

    def lock(self, run_id: str | None = None) -> Lease:
        """The lease of a run, not yet taken."""
        return Lease(self._store, self._key(run_id), self.locate(run_id), self.keep)

    def run_store(self, run_id: str | None, backend: Backend) -> RunStore:
        """The place of a run, as the engine uses it."""
        return SqliteRunStore(self, run_id, backend)

    def open(
        self, run_id: str | None = None, kept: tuple[int, int] | None = None
    ) -> BinaryIO | None:
        """Read a run's snapshot into memory, or one of those that are kept.

        Raises:
            StorageError: The database cannot be read.
        """
        found = self._find(_NEWEST if kept is None else _KEPT, run_id, *(kept or ()))
        return None if found is None else io.BytesIO(b"%b%b" % found)

    def kept(self, run_id: str | None = None) -> list[tuple[int, int]]:
        """List what is kept of a run: number and sequence of each, newest first."""
        if self.keep == 1 or not os.path.exists(self._path):
            return []
        with self._store.reading() as connection:
            return _history.names(connection, self._key(run_id))

    def replace(
        self,
        run_id: str | None,
        emit: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Replace a run's snapshot by what `emit` writes.

        Raises:
            StorageError: It cannot be written and is as it was.
            LeaseLostError: `lock` is not held, or was lost.
            RunInProgressError: No `lock` is given, and somebody has it.
        """
        with self.under(run_id, lock) as held:
            lease, memory = self._lease_of(run_id, held), MemoryTarget()
            header = emit(memory)
            payload, footer = self.cut(memory, run_id)
            lease.save(header, payload, footer, None, amends).wait()
            return header, len(payload) + len(footer)

    def cut(self, snapshot: MemoryTarget, run_id: str | None) -> tuple[bytes, bytes]:
        """Cut a snapshot in payload and footer.

        Raises:
            StorageError: It is larger than SQLite can hold.
        """
        payload, footer = split(snapshot.getvalue())
        if len(payload) > LARGEST_BYTES:
            raise StorageError(
                self.locate(run_id),
                f"the snapshot has {len(payload)} bytes, and SQLite holds {LARGEST_BYTES}: use "
                "the handler 'local', or keep large values in `data`, with a loader and a saver.",
            )
        return payload, footer

    def _lease_of(self, run_id: str | None, lock: Lock) -> Lease:
        """Give `lock` back if it is the lease of this run, and no other's."""
        if not isinstance(lock, Lease) or lock.key != self._key(run_id):
            raise LeaseLostError(self.locate(run_id))
        return lock

    def remove(self, run_id: str | None = None, *, lock: Lock | None = None) -> None:
        """Delete a run's row and those that are kept, if there are any.

        Raises:
            StorageError: They cannot be deleted.
            LeaseLostError: `lock` is not held, or was lost.
            RunInProgressError: No `lock` is given, and somebody has it.
        """
        with self.under(run_id, lock) as held:
            self._store.call(partial(_delete, self._lease_of(run_id, held)))

    def runs(self, query: Query) -> list[Header]:
        """List the headers of this flow's runs, the one that began last first.

        No state is read. A run that is under way has its owner's name in `Header.owner`.

        Raises:
            StorageError: The database cannot be read.
        """
        if not os.path.exists(self._path):
            return []
        if query.unowned:
            self._store.expire_dead()
        headers: list[Header] = []
        while True:
            with self._store.reading() as connection:
                rows = listed(connection, self._key(None)[0], query)
            found = [header for row in rows if (header := self._header_of(row)) is not None]
            headers += found
            if query.limit is None or len(found) == len(rows):
                return headers
            # For those that were left out others come, else an empty page were not the last.
            query = query._replace(limit=query.limit - len(found), after=rows[-1].place)

    def _header_of(self, row: Row) -> Header | None:
        location = self.locate(row.run_id)
        try:
            header = self.codec.peek(row.footer, row.payload_length, location)
            self.check_run(header, row.run_id, location)
        except CheckpointError as error:
            log_left_out(error)
            return None
        return row.completed(header)

    def prune(self, query: Query) -> int:
        """Delete the runs that a query asks for, except those under way, and give their number.

        Raises:
            StorageError: The database cannot be written.
        """
        count = 0
        if os.path.exists(self._path):
            self._store.expire_dead()
            while more := self._store.call(partial(delete_pruned, self._key(None)[0], query)):
                count += more
        return count

    def close(self) -> None:
        """Give back the leases of all runs under way, and close the file; using it opens it again.

        At the end of a process this is done of itself. Handlers of one file share what is closed.
        """
        self._store.close()

    def _key(self, run_id: str | None) -> tuple[str | bytes, str | bytes]:
        return self._flow_key, sql_text(check_run_id(run_id) or "")

    def _find(self, statement: str, run_id: str | None, *more: Any) -> Any:  # noqa: ANN401
        if not os.path.exists(self._path):
            return None
        with self._store.reading() as connection:
            return connection.execute(statement, (*self._key(run_id), *more)).fetchone()


# Another program may have put a value of another type there, which then is damage like any.
_NEWEST = (
    "SELECT CAST(payload AS BLOB), CAST(footer AS BLOB) FROM runs "
    "WHERE flow = ? AND run_id = ? AND status IS NOT NULL"
)
_KEPT = (
    "SELECT CAST(kept.payload AS BLOB), CAST(kept.footer AS BLOB) "
    "FROM kept JOIN runs ON runs.id = kept.run "
    "WHERE flow = ? AND run_id = ? AND kept.number = ? AND kept.sequence = ?"
)


def _delete(lease: Lease, connection: sqlite3.Connection) -> None:
    """Empty the row of a run; the lease that is given back then deletes it."""
    done = connection.execute(
        "UPDATE runs SET status = NULL, footer = NULL, payload = NULL, started_at = NULL "
        "WHERE id = ? AND token = ?",
        (lease.row, lease.token),
    )
    if not done.rowcount:
        raise LeaseLostError(lease.location)
    connection.execute("DELETE FROM kept WHERE run = ?", (lease.row,))


def _file_of(text: str) -> str:
    """The file that a path or URL names."""
    if "://" not in text:
        return text
    if text.startswith(_SCHEME) and len(text) > len(_SCHEME):
        return text[len(_SCHEME) :]
    raise InvalidValueError(
        f"{text!r} names no file. Write sqlite:///runs.db for a path from the working directory, "
        "or sqlite:////var/lib/runs.db for one from the root."
    )


def _checked_lease(lease: Any) -> float:  # noqa: ANN401 - whatever a user passes
    if isinstance(lease, bool) or not isinstance(lease, (int, float)):
        raise InvalidTypeError(f"lease= is a number of seconds, not a {type(lease).__name__}.")
    if not _SHORTEST_LEASE <= lease < float("inf"):
        raise InvalidValueError(f"lease={lease!r}: it is a number of seconds, at least 0.1.")
    return float(lease)
