"""Lists of runs by the columns of the table. No payload is read.

A payload is stored apart from its row. PostgreSQL tells its length without reading it
(`byteaoctetlen` in its source, https://github.com/postgres/postgres, `varlena.c`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers._query import id_key
from aiocheckpoint.handlers.leased import OwnedRow, RunRow
from aiocheckpoint.handlers.postgres._conditions import Values, conditions
from aiocheckpoint.handlers.postgres._due_runs import due_rows
from aiocheckpoint.handlers.postgres._seen_owners import JOIN_OWNERS, SEEN_OWNER, seen_owner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint.handlers._query import Query

__all__ = [
    "FOOTERS",
    "OWNED",
    "OWNERSHIP",
    "chosen_rows",
    "list_statement",
    "owned_row",
    "run_row",
]

FOOTERS = "coalesce(footer, ''), coalesce(octet_length(payload), 0)"
"""The footer of a snapshot, and the length of its payload."""
OWNED = f"runs.owner, start, lost, {SEEN_OWNER}"
"""The columns of an `OwnedRow`."""
_LIST = (
    f"SELECT run_id, started_at, {FOOTERS}, NULL::float8, {OWNED} FROM SCHEMA.runs {JOIN_OWNERS} "  # noqa: S608
    "WHERE {} ORDER BY started_at DESC, run_id DESC LIMIT %(limit)s"
)
_DUE_LIST = (
    f"SELECT run_id, started_at, {FOOTERS}, due_key, {OWNED} FROM {{}} {JOIN_OWNERS} "  # noqa: S608
    "ORDER BY due_key, began, name"
)
OWNERSHIP = (
    f"SELECT {OWNED} FROM SCHEMA.runs {JOIN_OWNERS} "  # noqa: S608
    "WHERE flow = %(flow)s AND run_key = %(run_key)s AND status IS NOT NULL"
)
"""The columns of a run beside its snapshot. Values: flow, run_key."""


def list_statement(flow: str | bytes, query: Query, after: RunRow | None) -> tuple[str, Values]:
    """Give the statement for a list, see `ReadingStatements.list_runs`, and its values."""
    if query.due_before is not None:
        rows, values = due_rows(flow, query, after)
        return _DUE_LIST.format(rows), values
    found, values = chosen_rows(flow, query if after is None else query._replace(after=None))
    if after is not None:
        found.append("(started_at, run_id) < (%(began)s, %(name)s)")
        values |= {"began": after.started_at, "name": after.run_id}
    values["limit"] = query.limit
    return _LIST.format(" AND ".join(found)), values


def chosen_rows(flow: str | bytes, query: Query) -> tuple[list[str], Values]:
    """Give the conditions of a query in the order of the list, and their values by name."""
    found, values = conditions(query.chosen)
    values["flow"] = flow
    if query.after is not None:
        found.append("(started_at, run_id) < (%(began)s, %(name)s)")
        values |= {"began": query.after.started_at, "name": id_key(query.after.run_id)}
    if query.unowned:
        found.append("owner IS NULL")
    return ["flow = %(flow)s", *found], values


def run_row(columns: Sequence[Any]) -> RunRow:
    """Make the row of a list from its columns."""
    run_id, started_at, footer, length, due, *owned = columns
    return RunRow(run_id, started_at, footer, length, owned_row(owned), due)


def owned_row(columns: Sequence[Any]) -> OwnedRow:
    """Make the columns of a run beside its snapshot."""
    owner_id, start, lost, *owner = columns
    return OwnedRow(owner_id, seen_owner(owner), start, lost)
