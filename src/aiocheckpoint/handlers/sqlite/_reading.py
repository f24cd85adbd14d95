"""The reader of a database: by its indexes and columns, on connections for reading alone."""

from __future__ import annotations

import io
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._files.databases import file_identity
from aiocheckpoint.handlers._found_runs import FoundRun, examined, sort_key
from aiocheckpoint.handlers._locations import format_location
from aiocheckpoint.handlers._reading import StoreReader
from aiocheckpoint.handlers._run_filter import ALL
from aiocheckpoint.handlers.sqlite._conditions import is_decided, is_in_columns
from aiocheckpoint.handlers.sqlite._counting import COLUMN_FACTS, counted
from aiocheckpoint.handlers.sqlite._errors import is_damaged
from aiocheckpoint.handlers.sqlite._liveness import OwnerLooks
from aiocheckpoint.handlers.sqlite._read_only import ReadOnlyDatabase
from aiocheckpoint.handlers.sqlite._requests import sql_text, stored_text
from aiocheckpoint.handlers.sqlite._salvaging import LostRow, keys_of_rows, salvaged
from aiocheckpoint.handlers.sqlite._stored_rows import (
    PAYLOAD_LENGTH,
    StoredRow,
    page_by_id,
    page_in_order,
    row_of_run,
)
from aiocheckpoint.handlers.sqlite._summing import flow_names, summed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from aiocheckpoint._snapshot.signing import Secret
    from aiocheckpoint.handlers._counting import CountBy, Counts
    from aiocheckpoint.handlers._found_runs import FlowSummary, Sort
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.handlers._whole_store import WholeStorePort

__all__ = ["SqliteReader"]

_LEAST_PAGE, _PAGE = 50, 500
_LOWEST_ID = -(1 << 63)
_BYTES = "coalesce(CAST(payload AS BLOB), x''), coalesce(CAST(footer AS BLOB), x'00')"
_SNAPSHOT = f"SELECT {_BYTES} FROM runs WHERE id = ? AND status IS NOT NULL"  # noqa: S608 - constants
_KEPT_SNAPSHOT = f"SELECT {_BYTES} FROM kept WHERE run = ? AND number = ? AND sequence = ?"  # noqa: S608
_KEPT = (
    f"SELECT number, sequence, coalesce(CAST(footer AS BLOB), x''), {PAYLOAD_LENGTH} "  # noqa: S608
    "FROM kept WHERE run = ? ORDER BY sequence DESC"
)


class _Choice(NamedTuple):
    """Which runs a list has, and in which order.

    Attributes:
        flow: The flow as the table has it. None for all.
        where: The filter.
        sort: The order. None for that of the rows.
        limit: The most runs, None for all.
    """

    flow: str | bytes | None
    where: RunFilter
    sort: Sort | None = None
    limit: int | None = None

    def page(
        self, connection: sqlite3.Connection, last: StoredRow | None, size: int
    ) -> list[StoredRow]:
        """Give the page behind a row."""
        if self.sort is None or self.flow is None:
            last_id = _LOWEST_ID if last is None else last.id
            return page_by_id(connection, self.flow, self.where, last_id, size)
        return page_in_order(connection, self.flow, self.where, self.sort, last, size)

    def wants(self, run: FoundRun) -> bool:
        """Whether a run whose columns are chosen is in the list."""
        if run.header is None:
            return is_decided(self.where)
        return self.where.wants(run.header)

    def is_behind(self, run: FoundRun, last: StoredRow | None) -> bool:
        """Whether a run comes behind a row. A run without a header comes last."""
        if last is None:
            return True
        if self.sort is None:
            return cast("int", run.key) > last.id
        return sort_key(self.sort, run) < (last.value or 0.0, last.stored_id)


class SqliteReader(StoreReader):
    """Reads a database. Each list has a connection of its own, which is closed at its end.

    Args:
        handler: The handler of the database.
        path: The absolute path.
        secret: As for `StoreReader`.
    """

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
        return self._chosen(_Choice(sql_text(flow) if flow else None, where))

    def runs(
        self, flow: str, where: RunFilter, sort: Sort, limit: int | None
    ) -> Iterator[FoundRun]:
        """Find runs in the order of a list. Those that began last are found by an index."""
        return self._chosen(_Choice(sql_text(flow), where, sort, limit))

    def find(self, flow: str, run_id: str | None) -> Iterator[FoundRun]:
        """Find a run by the index of ids."""
        looks = OwnerLooks(self._path)
        names = (flow,) if flow else self.flow_names()
        with ReadOnlyDatabase(self._path) as database:
            for name in names:
                key = sql_text(name), sql_text(run_id or "")
                for row in database.read(partial(row_of_run, key=key)):
                    yield self._examined_row(row, looks)

    def kept(self, run: FoundRun) -> list[FoundRun]:
        """List the kept snapshots of a run by their footers, newest first."""
        rows = self._database().rows(_KEPT, (run.key,))
        return [self._examined_kept(run, *row) for row in rows]

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
        """Count runs by columns, where these have the facts. Else by headers."""
        if not is_in_columns(where) or not COLUMN_FACTS.keys() >= set(by):
            return super().counts(flow, by, where)
        with ReadOnlyDatabase(self._path) as database:
            return database.read(partial(counted, flow=sql_text(flow), facts=by, where=where))

    def summaries(self) -> list[FlowSummary]:
        """Sum up each flow by columns. Whether snapshots are damaged is not looked at."""
        found: list[FlowSummary] = []
        with ReadOnlyDatabase(self._path) as database:
            for name in database.read(flow_names):
                newest = next(self.runs(stored_text(name), ALL, "began", 1), None)
                header = None if newest is None else newest.header
                steps = () if header is None else header.step_names.names
                summary = database.read(partial(summed, name=name))
                found.append(summary._replace(steps=steps))
        return found

    def _chosen(self, choice: _Choice) -> Iterator[FoundRun]:
        return islice(self._all_chosen(choice), choice.limit)

    def _all_chosen(self, choice: _Choice) -> Iterator[FoundRun]:
        looks, last = OwnerLooks(self._path), None
        size = min(_PAGE, max(choice.limit or _PAGE, _LEAST_PAGE))
        with ReadOnlyDatabase(self._path) as database:
            while True:
                try:
                    rows = database.read(partial(choice.page, last=last, size=size))
                except StorageError as error:
                    if not is_damaged(error):
                        raise
                    yield from self._salvaged(database, choice, last, looks)
                    return
                yield from filter(choice.wants, (self._examined_row(row, looks) for row in rows))
                if len(rows) < size:
                    return
                last, size = rows[-1], _PAGE

    def _salvaged(
        self,
        database: ReadOnlyDatabase,
        choice: _Choice,
        last: StoredRow | None,
        looks: OwnerLooks,
    ) -> Iterator[FoundRun]:
        """Find the runs behind a row in a damaged file, one by one, and those that are lost."""
        keys = keys_of_rows(database, choice.flow)
        found = self._salvaged_runs(database, keys, looks)
        sort = choice.sort
        if sort is not None:
            # Their headers would take much memory, so each is read twice.
            in_order = sorted((sort_key(sort, run), key) for key, run in found)
            keys = [key for _, key in reversed(in_order)]
            found = self._salvaged_runs(database, keys, looks)
        for _, run in found:
            if choice.wants(run) and choice.is_behind(run, last):
                yield run

    def _salvaged_runs(
        self, database: ReadOnlyDatabase, keys: Iterable[LostRow], looks: OwnerLooks
    ) -> Iterator[tuple[LostRow, FoundRun]]:
        for key in keys:
            row = salvaged(database, key)
            if row is not None:
                yield key, self._examined_row(row, looks)

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
