"""The reader of a database: by its indexes and columns, on connections for reading alone."""

from __future__ import annotations

import io
from collections import Counter
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._files.databases import file_identity
from aiocheckpoint.handlers._filter_columns import is_in_columns
from aiocheckpoint.handlers._found_runs import FoundRun, examined
from aiocheckpoint.handlers._locations import format_location
from aiocheckpoint.handlers._reading import StoreReader, count_found
from aiocheckpoint.handlers._run_filter import ALL
from aiocheckpoint.handlers.sqlite._choosing import Choice, chosen_rows
from aiocheckpoint.handlers.sqlite._counting import COLUMN_FACTS, counted
from aiocheckpoint.handlers.sqlite._liveness import OwnerLooks
from aiocheckpoint.handlers.sqlite._progress_table import progress_of_row
from aiocheckpoint.handlers.sqlite._read_only import ReadOnlyDatabase
from aiocheckpoint.handlers.sqlite._salvaging import LostRow, keys_of_rows
from aiocheckpoint.handlers.sqlite._stored_rows import (
    PAYLOAD_LENGTH,
    StoredRow,
    newest_finished,
    row_of_run,
)
from aiocheckpoint.handlers.sqlite._summing import counted_finished, flow_names, summed, total
from aiocheckpoint.handlers.sqlite._text import sql_text, stored_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiocheckpoint._snapshot.signing import Secret
    from aiocheckpoint.handlers._counting import CountBy, Counts
    from aiocheckpoint.handlers._found_runs import FlowSummary, Sort
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.handlers._whole_store import WholeStorePort

__all__ = ["SqliteReader"]

_BYTES = "coalesce(CAST(payload AS BLOB), x''), coalesce(CAST(footer AS BLOB), x'00')"
_SNAPSHOT = f"SELECT {_BYTES} FROM runs WHERE id = ? AND status IS NOT NULL"  # noqa: S608 - constants
_KEPT_SNAPSHOT = f"SELECT {_BYTES} FROM kept WHERE run = ? AND number = ? AND sequence = ?"  # noqa: S608
_KEPT = (
    f"SELECT number, sequence, coalesce(CAST(footer AS BLOB), x''), {PAYLOAD_LENGTH} "  # noqa: S608
    "FROM kept WHERE run = ? ORDER BY sequence DESC LIMIT ?"
)
_ALL_ROWS = -1


class SqliteReader(StoreReader):
    """Reads a database. Each list has a connection of its own, which is closed at its end.

    Args:
        handler: The handler of the database.
        path: The absolute path.
        secret: As for `StoreReader`.
    """

    has_index = True

    def __init__(
        self, handler: WholeStorePort, path: str, secret: Secret | Sequence[Secret] | None = None
    ) -> None:
        super().__init__(handler, secret)
        self._path = path
        self._for_snapshots: ReadOnlyDatabase | None = None
        self._stack = ExitStack()

    def exists(self) -> bool:
        """Whether the file is there. It is opened, and its tables are looked at."""
        if file_identity(self._path) is None:
            return False
        with ReadOnlyDatabase(self._path):
            return True

    def flow_names(self) -> tuple[str, ...]:
        """Names of the flows that have a run here, found by an index."""
        with ReadOnlyDatabase(self._path) as database:
            return tuple(stored_text(name) for name in database.read(flow_names))

    def found(self, flow: str, where: RunFilter = ALL) -> Iterator[FoundRun]:
        """Find runs in the order of their rows, those with odd values in a column among them."""
        return self._chosen(Choice(sql_text(flow) if flow else None, where))

    def runs(
        self, flow: str, where: RunFilter, sort: Sort, limit: int | None
    ) -> Iterator[FoundRun]:
        """Find runs in the order of a list. Those that began last are found by an index."""
        return self._chosen(Choice(sql_text(flow), where, sort, limit))

    def find(self, flow: str, run_id: str | None) -> Iterator[FoundRun]:
        """Find a run by the index of ids."""
        looks = OwnerLooks(self._path)
        names = (flow,) if flow else self.flow_names()
        with ReadOnlyDatabase(self._path) as database:
            for name in names:
                key = sql_text(name), sql_text(run_id or "")
                for row in _rows_of_run(database, key):
                    yield self._examined_row(row, looks)

    def kept(self, run: FoundRun, most: int | None = None) -> list[FoundRun]:
        """List the kept snapshots of a run by their footers, newest first."""
        rows = self._database().rows(_KEPT, (run.key, _ALL_ROWS if most is None else most))
        return [self._examined_kept(run, *row) for row in rows]

    def progress_bytes(self, run: FoundRun) -> bytes | None:
        """Read the record of the progress of a run by the id of its row."""
        return self._database().read(partial(progress_of_row, run.key))

    def open(self, run: FoundRun) -> BinaryIO | None:
        """Read a snapshot into memory."""
        if run.kept is None:
            found = self._database().rows(_SNAPSHOT, (run.key,))
        else:
            found = self._database().rows(_KEPT_SNAPSHOT, (run.key, *run.kept))
        return io.BytesIO(b"%b%b" % found[0]) if found else None

    def close(self) -> None:
        """Close the connection by which single snapshots are read."""
        self._for_snapshots = None
        self._stack.close()

    def _database(self) -> ReadOnlyDatabase:
        """The connection by which single snapshots are read, until the next `close`."""
        if self._for_snapshots is None:
            self._for_snapshots = self._stack.enter_context(ReadOnlyDatabase(self._path))
        return self._for_snapshots

    def counts(self, flow: str, by: tuple[CountBy, ...], where: RunFilter) -> Counts:
        """Count runs by columns, where these have the facts. Else, or of damaged ones, by headers.

        The errors of finished runs are None, so that only the headers of the others are read.
        """
        try:
            with ReadOnlyDatabase(self._path) as database:
                counts, rest = self._counted(database, sql_text(flow), by, where)
        except StorageError as error:
            if not error.damaged:
                raise
            return super().counts(flow, by, where)
        if rest is not None:
            found = self._all_chosen(Choice(sql_text(flow), rest, "began"))
            counts = dict(Counter(counts) + Counter(count_found(found, by)))
        return counts

    def _counted(
        self,
        database: ReadOnlyDatabase,
        key: str | bytes,
        by: tuple[CountBy, ...],
        where: RunFilter,
    ) -> tuple[Counts, RunFilter | None]:
        """Count what columns can count. Give the filter of the rest too, or None for no rest."""
        if not by and where == ALL:
            return database.read(partial(total, flow=key)), None
        if not is_in_columns(where):
            return {}, where
        if COLUMN_FACTS.keys() >= set(by):
            return database.read(partial(counted, flow=key, facts=by, where=where)), None
        return database.read(partial(counted_finished, flow=key, facts=by, where=where))

    def summaries(self) -> list[FlowSummary]:
        """Sum up each flow by columns. Only of a damaged file all headers are looked at."""
        found: list[FlowSummary] = []
        try:
            with ReadOnlyDatabase(self._path) as database:
                for name in database.read(flow_names):
                    newest = next(self.runs(stored_text(name), ALL, "began", 1), None)
                    header = None if newest is None else newest.header
                    steps = () if header is None else header.step_names.names
                    summary = database.read(partial(summed, name=name))
                    found.append(summary._replace(steps=steps))
        except StorageError as error:
            if not error.damaged:
                raise
            return super().summaries()
        return found

    def newest_finished(self, flow: str, limit: int) -> list[FoundRun]:
        """Find the finished runs that were stored first most recently, by an index."""
        looks = OwnerLooks(self._path)
        with ReadOnlyDatabase(self._path) as database:
            rows = database.read(partial(newest_finished, flow=sql_text(flow), limit=limit))
            return [self._examined_row(row, looks) for row in rows]

    def _chosen(self, choice: Choice) -> Iterator[FoundRun]:
        return islice(self._all_chosen(choice), choice.limit)

    def _all_chosen(self, choice: Choice) -> Iterator[FoundRun]:
        looks = OwnerLooks(self._path)
        with ReadOnlyDatabase(self._path) as database:
            for row in chosen_rows(database, choice):
                run = self._examined_row(row, looks)
                if choice.wants(run):
                    yield run

    def _examined_row(self, row: StoredRow | LostRow, looks: OwnerLooks) -> FoundRun:
        flow, run_id = row.names
        location = format_location(self._path, flow, run_id)
        found = FoundRun(location, run_id, flow, key=row.id)
        if isinstance(row, LostRow):
            return found._replace(error=row.error(location))
        footer, length = row.footer, row.payload_length
        found = found._replace(size=length + len(footer))
        return examined(
            found,
            lambda codec: codec.peek(footer, length, location),
            self.codec_of,
            row.owned.known(looks),
        )

    def _examined_kept(
        self, run: FoundRun, number: int, sequence: int, footer: bytes, length: int
    ) -> FoundRun:
        found = run.kept_as(number, sequence)._replace(size=length + len(footer))
        return examined(
            found, lambda codec: codec.peek(footer, length, found.location), self.codec_of, None
        )


def _rows_of_run(
    database: ReadOnlyDatabase, key: tuple[str | bytes, str | bytes]
) -> Sequence[StoredRow | LostRow]:
    """The row of a run, if it has a snapshot, or its key if the page that has it is damaged."""
    try:
        return database.read(partial(row_of_run, key=key))
    except StorageError as error:
        if not error.damaged:
            raise
    name = key[1].encode() if isinstance(key[1], str) else key[1]
    return [lost for lost in keys_of_rows(database, key[0]) if lost.stored_id == name]
