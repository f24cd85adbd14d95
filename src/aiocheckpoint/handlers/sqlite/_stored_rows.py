"""Rows of runs as a reader needs them: the keys of a list by pages, and rows by their keys.

Footers are read and payloads are not: SQLite knows the length of a payload without reading it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint.handlers.sqlite._conditions import conditions
from aiocheckpoint.handlers.sqlite._listing import OwnedRow, in_short_range, owned_columns
from aiocheckpoint.handlers.sqlite._text import sql_text, stored_text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from aiocheckpoint.handlers._found_runs import Sort
    from aiocheckpoint.handlers._index_rows import Choice
    from aiocheckpoint.handlers._run_filter import RunFilter

__all__ = [
    "PAYLOAD_LENGTH",
    "RowKey",
    "StoredRow",
    "keys_of",
    "newest_finished",
    "row_of_run",
    "rows_of",
]


class RowKey(NamedTuple):
    """The place of a row in a list.

    Attributes:
        id: Id of the row.
        value: The value by which the list is ordered.
        stored_id: The run id in UTF-8, as another program may have stored it.
        is_text: Whether it is stored as text.
    """

    id: int
    value: float
    stored_id: bytes
    is_text: int


class StoredRow(NamedTuple):
    """One run.

    Attributes:
        id: Id of the row.
        flow, stored_id: Flow and run id in UTF-8, as another program may have stored them.
        footer: The footer of its snapshot.
        payload_length: Length of the payload in bytes.
        owned: The columns beside the snapshot.
    """

    id: int
    flow: bytes
    stored_id: bytes
    footer: bytes
    payload_length: int
    owned: OwnedRow

    @property
    def names(self) -> tuple[str, str | None]:
        """The flow, and the run or None."""
        return stored_text(self.flow), stored_text(self.stored_id) or None


PAYLOAD_LENGTH = (
    "CASE typeof(payload) WHEN 'blob' THEN length(payload) "
    "ELSE coalesce(length(CAST(payload AS BLOB)), 0) END"
)
"""The length of a payload. SQLite tells that of a column without reading its bytes, and that of a
CAST by reading them."""

_LOWEST_ID = -(1 << 63)
_VALUES: dict[Sort, str] = {
    "began": "started_at",
    "wrote": "written_at",
    "took": "(written_at - started_at)",
}
_KEY = "CAST(run_id AS BLOB), typeof(run_id) = 'text'"
_IN_ORDER = (
    f"SELECT id, {{value}}, {_KEY} FROM runs{{index}} WHERE {{where}} "  # noqa: S608
    "AND typeof({value}) = 'real' AND typeof(run_id) IN ('text', 'blob') "
    "ORDER BY {value} DESC, run_id DESC LIMIT :limit"
)
_BY_ID = f"SELECT id, 0.0, {_KEY} FROM runs WHERE {{where}} ORDER BY id LIMIT :limit"  # noqa: S608
# The index of flow and status ends with the id of the row.
_FINISHED = "SELECT id FROM runs WHERE flow = ? AND status = 'finished' ORDER BY id DESC LIMIT ?"
# The CASTs take values of other types, and text that is no UTF-8, which others have stored.
_ROWS = (
    "SELECT runs.id, CAST(runs.flow AS BLOB), CAST(run_id AS BLOB), "  # noqa: S608 - constants
    f"coalesce(CAST(footer AS BLOB), x''), {PAYLOAD_LENGTH}, {{owned}} "
    "FROM runs LEFT JOIN owners ON owners.id = runs.owner WHERE {where} AND status IS NOT NULL"
)


def _keys_in_order(  # noqa: PLR0917 - each is part of the place
    connection: sqlite3.Connection,
    flow: str | bytes,
    where: RunFilter,
    sort: Sort,
    last: RowKey | None,
    size: int,
) -> list[RowKey]:
    """Give a page of the keys of a list, the greatest first.

    Rows whose time or id is of another type have no place in the order, and are left out. Where
    columns do not decide the filter, there are more rows than it chooses.

    Args:
        connection: The database.
        flow: The flow as the table has it.
        where: Which runs.
        sort: The order.
        last: The last key of the page before, or None.
        size: The most keys.
    """
    found, values = _found(flow, where)
    value = _VALUES[sort]
    if last is not None:
        name = "CAST(:last_id AS TEXT)" if last.is_text else ":last_id"
        found.append(f"({value}, run_id) < (:last_value, {name})")
        values |= {"last_value": last.value, "last_id": last.stored_id}
    index, in_range = in_short_range(connection, where.ids, values)
    chosen = " AND ".join([*found, *in_range])
    statement = _IN_ORDER.format(index=index, where=chosen, value=value)
    return _keys(connection, statement, values, size)


def _keys_by_id(
    connection: sqlite3.Connection, flow: str | bytes | None, where: RunFilter, last: int, size: int
) -> list[RowKey]:
    """Give a page of the keys of all rows, those of any type among them, in the order of their ids.

    Args:
        connection: The database.
        flow: The flow as the table has it, or None for all.
        where: Which runs.
        last: Id of the last row of the page before.
        size: The most keys.
    """
    found, values = _found(flow, where)
    found.append("id > :last_id")
    values["last_id"] = last
    return _keys(connection, _BY_ID.format(where=" AND ".join(found)), values, size)


def keys_of(
    connection: sqlite3.Connection, choice: Choice, last: RowKey | None, size: int
) -> list[RowKey]:
    """Give the page of the keys of a list behind one."""
    flow = sql_text(choice.flow) if choice.flow else None
    if choice.sort is None or flow is None:
        last_id = _LOWEST_ID if last is None else last.id
        return _keys_by_id(connection, flow, choice.where, last_id, size)
    return _keys_in_order(connection, flow, choice.where, choice.sort, last, size)


def rows_of(connection: sqlite3.Connection, ids: Sequence[int]) -> list[StoredRow]:
    """Give the rows with these ids that have a snapshot, in the order of the ids."""
    marks = ", ".join("?" * len(ids))
    found = {row.id: row for row in _rows(connection, f"runs.id IN ({marks})", tuple(ids))}
    return [found[one] for one in ids if one in found]


def newest_finished(connection: sqlite3.Connection, flow: str | bytes, limit: int) -> list[int]:
    """Give the ids of the finished runs of a flow that were stored first most recently."""
    return [one for (one,) in connection.execute(_FINISHED, (flow, limit))]


def row_of_run(
    connection: sqlite3.Connection, key: tuple[str | bytes, str | bytes]
) -> list[StoredRow]:
    """Give the row of a flow and a run as the table has them, if it has a snapshot."""
    return _rows(connection, "runs.flow = ? AND run_id = ?", key)


def _found(flow: str | bytes | None, where: RunFilter) -> tuple[list[str], dict[str, Any]]:
    found, values = conditions(where)
    if flow is not None:
        found.insert(0, "flow = :flow")
        values["flow"] = flow
    if where.statuses is None:
        found.append("status IS NOT NULL")
    return found, values


def _keys(
    connection: sqlite3.Connection, statement: str, values: dict[str, Any], size: int
) -> list[RowKey]:
    return list(map(RowKey._make, connection.execute(statement, {**values, "limit": size})))


def _rows(connection: sqlite3.Connection, where: str, values: tuple[Any, ...]) -> list[StoredRow]:
    statement = _ROWS.format(where=where, owned=owned_columns(connection.execute))
    return [
        StoredRow._make((*row[:5], OwnedRow._make(row[5:])))
        for row in connection.execute(statement, values)
    ]
