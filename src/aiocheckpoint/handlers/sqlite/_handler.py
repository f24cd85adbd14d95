"""The handler for the snapshots of many runs in one SQLite file.

`CheckpointFlow("sqlite:///runs.db")` makes it. Only then this module is imported.
"""

from __future__ import annotations

import io
import os
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Unpack

from aiocheckpoint._logging import RunPlace, log_left_out
from aiocheckpoint._model.start_record import Ownership
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import CheckpointError
from aiocheckpoint.handlers._counting import count_headers
from aiocheckpoint.handlers._files.databases import file_identity
from aiocheckpoint.handlers._filter_columns import is_in_columns
from aiocheckpoint.handlers._identifiers import checked_path, checked_run_id
from aiocheckpoint.handlers._leases import LEASE_SECONDS, checked_lease
from aiocheckpoint.handlers._retention import Keep, checked_keep
from aiocheckpoint.handlers._run_filter import ALL
from aiocheckpoint.handlers._urls import absolute_path, flow_name
from aiocheckpoint.handlers.leased._leasing_handler import LeasingHandler
from aiocheckpoint.handlers.leased._listing import chosen_headers, listed_headers
from aiocheckpoint.handlers.sqlite._conditions import is_decided
from aiocheckpoint.handlers.sqlite._counting import COLUMN_FACTS, counted
from aiocheckpoint.handlers.sqlite._database import Database, open_database
from aiocheckpoint.handlers.sqlite._ending_column import endings_of_flow, read_ending
from aiocheckpoint.handlers.sqlite._file_url import file_of
from aiocheckpoint.handlers.sqlite._history import retained
from aiocheckpoint.handlers.sqlite._listing import listed, owned_row
from aiocheckpoint.handlers.sqlite._liveness import OwnerLooks
from aiocheckpoint.handlers.sqlite._maintenance import back_up, compact
from aiocheckpoint.handlers.sqlite._place import SqlitePlace
from aiocheckpoint.handlers.sqlite._progress_table import read_progress
from aiocheckpoint.handlers.sqlite._rows import NEWEST, NEWEST_FOOTER, RETAINED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.signing import Secrets
    from aiocheckpoint.handlers._counting import CountBy, Counts
    from aiocheckpoint.handlers._found_snapshots import FoundSnapshot
    from aiocheckpoint.handlers._locks import Lock
    from aiocheckpoint.handlers._options import SnapshotOptions
    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.handlers.leased._requests import Key
    from aiocheckpoint.handlers.sqlite._listing import Row
    from aiocheckpoint.handlers.sqlite._reader import SqliteReader

__all__ = ["SqliteStateHandler"]


class SqliteStateHandler(LeasingHandler[Database]):
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

    _shown_options = (("fsync", True), ("keep", 1), ("lease", LEASE_SECONDS))

    @front_door
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fsync: bool = True,
        keep: Keep = 1,
        lease: float = LEASE_SECONDS,
        flow: str | None = None,
        **options: Unpack[SnapshotOptions],
    ) -> None:
        given = checked_path(path)
        text = file_of(given)
        super().__init__(flow_name(given) if flow is None else flow, **options)
        self.path: str | os.PathLike[str] | None = path
        self.fsync: bool = fsync
        self.keep: Keep = checked_keep(keep)
        self.lease: float = checked_lease(lease)
        self._path = os.path.realpath(absolute_path(text))
        self._store = SqlitePlace(self._path)
        self._client = self._open_client()

    def _open_client(self) -> Database:
        return open_database(self._path, durable=self.fsync, lease=self.lease)

    def open(
        self, run_id: str | None = None, kept: tuple[int, int] | None = None
    ) -> BinaryIO | None:
        """Read a run's newest snapshot, or a retained one, into memory.

        Raises:
            StorageError: The database cannot be read.
        """
        found = self._find(NEWEST if kept is None else RETAINED, self._key(run_id), *(kept or ()))
        return None if found is None else io.BytesIO(b"%b%b" % found)

    def _newest_footer(self, key: Key) -> tuple[bytes, int] | None:
        found: tuple[bytes, int] | None = self._find(NEWEST_FOOTER, key)
        return found

    def kept(self, run_id: str | None = None) -> list[tuple[int, int]]:
        """List the retained snapshots of a run: number and sequence of each, newest first."""
        if self.keep == 1 or file_identity(self._path) is None:
            return []
        with self._client.reading() as connection:
            return retained(connection, self._key(run_id))

    @front_door
    def runs(self, query: Query) -> list[Header]:
        """List the headers of this flow's runs, in the order of the query. No state is read.

        Raises:
            StorageError: The database cannot be read.
        """
        if file_identity(self._path) is None:
            return []
        if query.unowned:
            self._client.expire_dead()
        flow, decided = self._flow_key, is_decided(query.chosen)

        def list_rows(wanted: Query, after: Row | None) -> list[Row]:
            with self._client.reading() as connection:
                return listed(connection, flow, wanted, after)

        header_of = partial(self._header_of, looks=OwnerLooks(self._path), query=query)
        return listed_headers(list_rows, query, header_of, decided=decided)

    def counts(self, by: Literal["status", "step"]) -> dict[str | None, int]:
        """Count this flow's runs by status, or by next step, in the database itself."""
        return {value: number for (value,), number in self.tally((by,), ALL).items()}

    def tally(self, facts: tuple[CountBy, ...], where: RunFilter) -> Counts:
        """Count this flow's runs in the database itself, or their headers a page at a time."""
        if not is_in_columns(where) or not COLUMN_FACTS.keys() >= set(facts):
            return count_headers(chosen_headers(self.runs, where), facts)
        if file_identity(self._path) is None:
            return {}
        with self._client.reading() as connection:
            return counted(connection, self._flow_key, facts, where)

    def _header_of(self, row: Row, looks: OwnerLooks, query: Query) -> Header | None:
        try:
            location = self.locate(row.run_id)
            header = self.codec.peek(row.footer, row.payload_length, location)
            self.check_run(header, row.run_id, location)
        except CheckpointError as error:
            log_left_out(error, RunPlace(self.flow, row.run_id))
            return None
        shown = row.completed(header, looks)
        if not query.where.wants(shown):
            return None
        return shown if query.due_before is None else row.if_due(shown, query.due_before)

    def ownership(self, run_id: str | None = None) -> Ownership:
        """Read the owner of a run, and the record of its last start."""
        if file_identity(self._path) is None:
            return Ownership()
        with self._client.reading() as connection:
            found = owned_row(connection, self._key(run_id))
        return found.known(OwnerLooks(self._path)) if found else Ownership()

    def read_ending(
        self,
        run_id: str | None,
        *,
        lock: Lock | None = None,  # noqa: ARG002 - the row is found by its key
    ) -> str | None:
        """Read the reason of the request to terminate a run."""
        with self._client.reading() as connection:
            return read_ending(self._key(run_id), connection)

    def endings(self, run_ids: Iterable[str | None]) -> dict[str | None, str]:
        """Read the requests of all runs of the flow by one statement."""
        if not self._client.owner_id:  # The file was closed, and no run is in progress.
            return {}
        with self._client.reading() as connection:
            found = endings_of_flow(self._flow_key, connection)
        keys = ((run_id, self._key(run_id)[1]) for run_id in run_ids if found)
        return {run_id: found[key] for run_id, key in keys if key in found}

    def read_progress(
        self,
        run_id: str | None = None,
        *,
        lock: Lock | None = None,  # noqa: ARG002 - the row is found by its key
    ) -> bytes | None:
        """Read the record of a run's progress."""
        if file_identity(self._path) is None:
            return None
        with self._client.reading() as connection:
            return read_progress(self._key(run_id), connection)

    def _prune(self, query: Query, *, trusted: bool = False) -> int:
        """Delete by one statement for many, where columns decide and no signature is checked."""
        if (trusted and self.codec.signer is not None) or not is_decided(query.chosen):
            return super()._prune(query, trusted=trusted)
        if file_identity(self._path) is None:
            return 0
        self._client.expire_dead()
        return self._prune_rows(query, unsigned=trusted) or 0

    def reader(self, secret: Secrets | None = None) -> SqliteReader:
        """Make the reader of the database, which opens it for reading alone."""
        from aiocheckpoint.handlers.sqlite._reader import SqliteReader  # noqa: PLC0415 - rarely

        return SqliteReader(self, self._path, secret)

    def exists(self) -> bool:
        """Whether the file is there."""
        return file_identity(self._path) is not None

    def find_snapshots(self, run_id: str | None) -> Iterator[FoundSnapshot]:
        """Find a run by a connection for reading alone. See `StateHandler.find_snapshots`."""
        return self.reader().snapshots_of_run(self.flow, checked_run_id(run_id))

    def find_all_snapshots(self) -> Iterator[FoundSnapshot]:
        """Find all runs by a connection for reading alone."""
        return self.reader().snapshots_of_flow(self.flow)

    @front_door
    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the database to a new file, also while any process uses it.

        The copy is one moment of all runs, of all flows in the database, and is complete when it
        appears at `path`. Retained snapshots are copied as well. In the copy no run has an owner,
        so that a run in progress resumes there as that of a killed process. No writer waits.

        Args:
            path: The file, or its URL, as for `SqliteStateHandler`. Its parents are made.

        Raises:
            InvalidTypeError, InvalidValueError: `path` is no path.
            StorageError: There is no database, something is at `path` already, or it cannot be
                written.
        """
        back_up(self._path, absolute_path(file_of(checked_path(path))))

    @front_door
    def compact(self) -> int:
        """Give the space of deleted runs, and that of the "-wal", back to the file system.

        The file is written anew, so that its disk needs up to twice its size for the moment.
        Writers of any process wait meanwhile, for a second or so by 100 MB, and lose no run.

        Returns:
            The number of bytes given back.

        Raises:
            StorageError: Another program reads or writes for longer than 10 s, or the disk refuses.
                The runs are as they were.
        """
        return compact(self._client, self._path)

    @front_door
    def close(self) -> None:
        """Release the leases of all runs in progress, and close the file. The next use opens it.

        All that is stored is then in the file itself, unless another process still has it open.
        The end of the process does the same. All handlers of one file share its connection.
        """
        super().close()

    def _find(self, statement: str, key: Key, *more: Any) -> Any:  # noqa: ANN401
        if file_identity(self._path) is None:
            return None
        with self._client.reading() as connection:
            return connection.execute(statement, (*key, *more)).fetchone()
