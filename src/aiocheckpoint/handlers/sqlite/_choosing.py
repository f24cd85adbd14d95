"""The rows of a list, a page at a time, also of a damaged file."""

from __future__ import annotations

from array import array
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers.sqlite._conditions import is_decided
from aiocheckpoint.handlers.sqlite._salvaging import LostRow, keys_of_rows, salvaged
from aiocheckpoint.handlers.sqlite._stored_rows import (
    RowKey,
    StoredRow,
    keys_by_id,
    keys_in_order,
    rows_of,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from aiocheckpoint.handlers._found_runs import FoundRun, Sort
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.handlers.sqlite._read_only import ReadOnlyDatabase

__all__ = ["Choice", "chosen_rows"]

_LEAST_KEYS, _MOST_KEYS = 50, 10_000
"""A page of keys may be sorted from all rows of a filter, so that many are asked for at once."""
_ROWS_AT_ONCE = 500
_LOWEST_ID = -(1 << 63)


class Choice(NamedTuple):
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

    def wants(self, run: FoundRun) -> bool:
        """Whether a run whose columns are chosen is in the list."""
        if run.header is None:
            return is_decided(self.where)
        return self.where.wants(run.header)

    def keys(self, connection: sqlite3.Connection, last: RowKey | None, size: int) -> list[RowKey]:
        """Give the page of keys behind one."""
        if self.sort is None or self.flow is None:
            last_id = _LOWEST_ID if last is None else last.id
            return keys_by_id(connection, self.flow, self.where, last_id, size)
        return keys_in_order(connection, self.flow, self.where, self.sort, last, size)


def chosen_rows(database: ReadOnlyDatabase, choice: Choice) -> Iterator[StoredRow | LostRow]:
    """Give the rows of a list.

    Where a part of the file is damaged, the rest of the rows comes behind it in the order of their
    start, with those that are lost. A filter by columns is then left to the headers.

    Args:
        database: The database.
        choice: Which runs. Its limit says how many are probably needed.

    Raises:
        StorageError: The database cannot be read.
    """
    given = array("q")  # A set of a million would take 60 MB.
    size = min(_MOST_KEYS, max(choice.limit or _MOST_KEYS, _LEAST_KEYS))
    last: RowKey | None = None
    try:
        while True:
            keys = database.read(partial(choice.keys, last=last, size=size))
            for start in range(0, len(keys), _ROWS_AT_ONCE):
                ids = [key.id for key in keys[start : start + _ROWS_AT_ONCE]]
                rows = database.read(partial(rows_of, ids=ids))
                given.extend(row.id for row in rows)
                yield from rows
            if len(keys) < size:
                return
            last, size = keys[-1], _MOST_KEYS
    except StorageError as error:
        if not error.damaged:
            raise
    known = frozenset(given)
    for key in keys_of_rows(database, choice.flow):
        row = None if key.id in known else salvaged(database, key)
        if row is not None:
            yield row
