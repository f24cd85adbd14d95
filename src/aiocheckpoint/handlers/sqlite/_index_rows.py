"""The rows of a database as a reader needs them, on a connection for reading alone."""

from __future__ import annotations

from array import array
from functools import partial
from typing import TYPE_CHECKING

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._index_rows import FoundRow, IndexRows, KeptRow
from aiocheckpoint.handlers.sqlite._conditions import is_decided
from aiocheckpoint.handlers.sqlite._counting import counted
from aiocheckpoint.handlers.sqlite._progress_table import progress_of_row
from aiocheckpoint.handlers.sqlite._salvaging import LostRow, keys_of_rows, salvaged
from aiocheckpoint.handlers.sqlite._stored_rows import (
    PAYLOAD_LENGTH,
    StoredRow,
    keys_of,
    newest_finished,
    row_of_run,
    rows_of,
)
from aiocheckpoint.handlers.sqlite._summing import flow_names, summed, total
from aiocheckpoint.handlers.sqlite._text import sql_text, stored_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiocheckpoint.handlers._counting import CountBy, Counts
    from aiocheckpoint.handlers._found_runs import FlowSummary
    from aiocheckpoint.handlers._index_rows import Choice
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.handlers.sqlite._liveness import OwnerLooks
    from aiocheckpoint.handlers.sqlite._read_only import ReadOnlyDatabase
    from aiocheckpoint.handlers.sqlite._stored_rows import RowKey

__all__ = ["SqliteRows"]

_BYTES = "coalesce(CAST(payload AS BLOB), x''), coalesce(CAST(footer AS BLOB), x'00')"
_SNAPSHOT = f"SELECT {_BYTES} FROM runs WHERE id = ? AND status IS NOT NULL"  # noqa: S608 - constants
_KEPT_SNAPSHOT = f"SELECT {_BYTES} FROM kept WHERE run = ? AND number = ? AND sequence = ?"  # noqa: S608
_KEPT = (
    f"SELECT number, sequence, coalesce(CAST(footer AS BLOB), x''), {PAYLOAD_LENGTH} "  # noqa: S608
    "FROM kept WHERE run = ? ORDER BY sequence DESC LIMIT ?"
)
_ALL_ROWS = -1
_DAMAGED = "the page of the database that has it is damaged"


class SqliteRows(IndexRows):
    """The rows of an open database.

    Args:
        database: The database.
        looks: Looks at the owners of runs.
    """

    def __init__(self, database: ReadOnlyDatabase, looks: OwnerLooks) -> None:
        self._database, self._looks = database, looks

    def flow_names(self) -> list[str]:
        return [stored_text(name) for name in self._database.read(flow_names)]

    def keys(self, choice: Choice, last: RowKey | None, size: int) -> list[RowKey]:
        return self._database.read(partial(keys_of, choice=choice, last=last, size=size))

    def rows(self, ids: Sequence[int]) -> list[FoundRow]:
        return [*map(self._found, self._database.read(partial(rows_of, ids=ids)))]

    def rows_of_run(self, flow: str, run_id: str | None) -> list[FoundRow]:
        """Give the row of a run, or its key if the page that has the row is damaged."""
        key = sql_text(flow), sql_text(run_id or "")
        try:
            return [*map(self._found, self._database.read(partial(row_of_run, key=key)))]
        except StorageError as error:
            if not error.damaged:
                raise
        name = key[1].encode() if isinstance(key[1], str) else key[1]
        lost = keys_of_rows(self._database, key[0])
        return [self._found(one) for one in lost if one.stored_id == name]

    def newest_finished(self, flow: str, limit: int) -> list[int]:
        return self._database.read(partial(newest_finished, flow=sql_text(flow), limit=limit))

    def decides(self, where: RunFilter) -> bool:
        return is_decided(where)

    def counts(self, flow: str, facts: tuple[CountBy, ...], where: RunFilter) -> Counts:
        count = partial(counted, flow=sql_text(flow), facts=facts, where=where)
        return self._database.read(count)

    def total(self, flow: str) -> int:
        return self._database.read(partial(total, flow=sql_text(flow)))

    def summary(self, flow: str) -> FlowSummary:
        return self._database.read(partial(summed, flow=flow))

    def kept(self, row: int, most: int | None) -> list[KeptRow]:
        found = self._database.rows(_KEPT, (row, _ALL_ROWS if most is None else most))
        return [*map(KeptRow._make, found)]

    def snapshot(self, row: int, kept: tuple[int, int] | None) -> tuple[bytes, bytes] | None:
        if kept is None:
            found = self._database.rows(_SNAPSHOT, (row,))
        else:
            found = self._database.rows(_KEPT_SNAPSHOT, (row, *kept))
        return next(iter(found), None)

    def progress(self, row: int) -> bytes | None:
        return self._database.read(partial(progress_of_row, row))

    def chosen(self, choice: Choice) -> Iterator[FoundRow]:
        """Give the rows of a list.

        Where a part of the file is damaged, the rest of the rows comes behind it in the order of
        their start, with those that are lost. A filter by columns is then left to the headers.
        """
        given = array("q")  # A set of a million would take 60 MB.
        try:
            for row in super().chosen(choice):
                given.append(row.id)
                yield row
        except StorageError as error:
            if not error.damaged:
                raise
        else:
            return
        known = frozenset(given)
        for key in keys_of_rows(self._database, sql_text(choice.flow) if choice.flow else None):
            found = None if key.id in known else salvaged(self._database, key)
            if found is not None:
                yield self._found(found)

    def _found(self, row: StoredRow | LostRow) -> FoundRow:
        flow, run_id = row.names
        if isinstance(row, LostRow):
            return FoundRow(row.id, flow, run_id, lost=_DAMAGED)
        known = row.owned.known(self._looks)
        return FoundRow(row.id, flow, run_id, row.footer, row.payload_length, known)
