"""Rows of runs as a reader needs them: by pages, in any order of a list, and one by one.

Footers are read and payloads are not: SQLite knows the length of a payload without reading it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint.handlers.sqlite._conditions import conditions
from aiocheckpoint.handlers.sqlite._listing import OwnedRow, in_short_range, owned_columns
from aiocheckpoint.handlers.sqlite._requests import stored_text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from aiocheckpoint.handlers._found_runs import Sort
    from aiocheckpoint.handlers._run_filter import RunFilter

__all__ = [
    "PAYLOAD_LENGTH",
    "StoredRow",
    "page_by_id",
    "page_in_order",
    "row_by_id",
    "row_of_run",
]


class StoredRow(NamedTuple):
    """One run.

    Attributes:
        id: Id of the row.
        flow, stored_id: Flow and run id in UTF-8, as another program may have stored them.
        is_text: Whether the run id is stored as text.
        value: The value by which a list is ordered, None where it is not.
        footer: The footer of its snapshot.
        payload_length: Length of the payload in bytes.
        owned: The columns beside the snapshot.
    """

    id: int
    flow: bytes
    stored_id: bytes
    is_text: int
    value: float | None
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

# The CASTs take values of other types, and text that is no UTF-8, which others have stored.
_COLUMNS = (
    "runs.id, CAST(runs.flow AS BLOB), CAST(run_id AS BLOB), typeof(run_id) = 'text', {shown}, "
    f"coalesce(CAST(footer AS BLOB), x''), {PAYLOAD_LENGTH}, {{owned}}"
)
_OWNERS = "LEFT JOIN owners ON owners.id = runs.owner"
_IN_ORDER = (
    "WITH page AS (SELECT id, {value} AS value FROM runs{index} WHERE {where} "  # noqa: S608
    "AND typeof({value}) = 'real' AND typeof(run_id) IN ('text', 'blob') "
    "ORDER BY {value} DESC, run_id DESC LIMIT :limit) "
    f"SELECT {_COLUMNS} FROM page CROSS JOIN runs ON runs.id = page.id {_OWNERS} "
    "ORDER BY page.value DESC, run_id DESC"
)
_BY_ID = f"SELECT {_COLUMNS} FROM runs {_OWNERS} WHERE {{where}} ORDER BY runs.id LIMIT :limit"  # noqa: S608
_VALUES: dict[Sort, str] = {
    "began": "started_at",
    "wrote": "written_at",
    "took": "(written_at - started_at)",
}


def page_in_order(  # noqa: PLR0917 - each is part of the place
    connection: sqlite3.Connection,
    flow: str | bytes,
    where: RunFilter,
    sort: Sort,
    last: StoredRow | None,
    size: int,
) -> list[StoredRow]:
    """Give a page of a list, the greatest first.

    Rows whose time or id is of another type have no place in the order, and are left out. Where
    columns do not decide the filter, there are more rows than it chooses.

    Args:
        connection: The database.
        flow: The flow as the table has it.
        where: Which runs.
        sort: The order.
        last: The last row of the page before, or None.
        size: The most rows.
    """
    found, values = _found(flow, where)
    value = _VALUES[sort]
    if last is not None:
        name = "CAST(:last_id AS TEXT)" if last.is_text else ":last_id"
        found.append(f"({value}, run_id) < (:last_value, {name})")
        values |= {"last_value": last.value, "last_id": last.stored_id}
    index, in_range = in_short_range(connection, where.ids, values)
    chosen = " AND ".join(found + in_range)
    owned = owned_columns(connection.execute)
    statement = _IN_ORDER.format(
        index=index, where=chosen, value=value, shown="page.value", owned=owned
    )
    return _rows(connection, statement, values, size)


def page_by_id(
    connection: sqlite3.Connection, flow: str | bytes | None, where: RunFilter, last: int, size: int
) -> list[StoredRow]:
    """Give a page of all rows, those of any type among them, in the order of their ids.

    Args:
        connection: The database.
        flow: The flow as the table has it, or None for all.
        where: Which runs.
        last: Id of the last row of the page before.
        size: The most rows.
    """
    found, values = _found(flow, where)
    found.append("runs.id > :last_id")
    values["last_id"] = last
    return _selected(connection, found, values, size)


def row_of_run(
    connection: sqlite3.Connection, key: tuple[str | bytes, str | bytes]
) -> list[StoredRow]:
    """Give the row of a flow and a run as the table has them, if it has a snapshot."""
    found = ["runs.flow = :flow", "run_id = :run_id", "status IS NOT NULL"]
    return _selected(connection, found, {"flow": key[0], "run_id": key[1]}, 1)


def row_by_id(connection: sqlite3.Connection, row_id: int) -> list[StoredRow]:
    """Give a row by its id, if it has a snapshot."""
    return _selected(connection, ["runs.id = :id", "status IS NOT NULL"], {"id": row_id}, 1)


def _found(flow: str | bytes | None, where: RunFilter) -> tuple[list[str], dict[str, Any]]:
    found, values = conditions(where)
    if flow is not None:
        found.insert(0, "runs.flow = :flow")
        values["flow"] = flow
    if where.statuses is None:
        found.append("status IS NOT NULL")
    return found, values


def _selected(
    connection: sqlite3.Connection, found: Sequence[str], values: dict[str, Any], size: int
) -> list[StoredRow]:
    owned = owned_columns(connection.execute)
    statement = _BY_ID.format(where=" AND ".join(found), shown="NULL", owned=owned)
    return _rows(connection, statement, values, size)


def _rows(
    connection: sqlite3.Connection, statement: str, values: dict[str, Any], size: int
) -> list[StoredRow]:
    return [
        StoredRow._make((*row[:7], OwnedRow._make(row[7:])))
        for row in connection.execute(statement, {**values, "limit": size})
    ]
