"""The list of the runs that are due, by one index: no row is read that is not in the list.

The index holds the runs without an owner that have not finished, by status and time. Each part of
the statement below reads one stretch of it in its order. The stretches are merged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint.handlers._filter_columns import UNFINISHED, stretches_of_due_runs
from aiocheckpoint.handlers._query import due_key
from aiocheckpoint.handlers.sqlite._conditions import conditions
from aiocheckpoint.handlers.sqlite._schema import DUE
from aiocheckpoint.handlers.sqlite._text import sql_text

if TYPE_CHECKING:
    from aiocheckpoint.handlers._filter_columns import Stretch
    from aiocheckpoint.handlers._query import Query

__all__ = ["Place", "due_rows"]

_STRETCHES = stretches_of_due_runs(DUE, ":before")

_STRETCH = (
    "SELECT * FROM (SELECT id AS found, {key} AS key, started_at AS began, run_id AS name "  # noqa: S608
    f"FROM runs{{index}} WHERE flow = :flow AND {{owner}} AND {UNFINISHED} "
    "AND status = '{status}' AND {condition} AND {more} "
    "ORDER BY {order}started_at, run_id LIMIT :limit)"
)
_ROWS = (
    "(SELECT found, key FROM ({}) ORDER BY key, began, name LIMIT :limit) "
    "JOIN runs ON runs.id = found"
)


class Place(NamedTuple):
    """The place of a run in the list, behind which the next page begins.

    Attributes:
        due: The key of the order.
        started_at: When the run began.
        run_id: Its id as the table has it, or in bytes.
        is_text: Whether the table has the bytes as text.
    """

    due: float
    started_at: float
    run_id: str | bytes
    is_text: bool = False


def due_rows(
    flow: str | bytes, query: Query, in_order: str, after: Place | None
) -> tuple[str, dict[str, Any]]:
    """The source of the rows of the runs that a query by `due_before` asks for.

    Args:
        flow: The flow as the table has it.
        query: Which runs.
        in_order: The condition for rows that have a place in the order.
        after: The last row of the page before, instead of `query.after`.

    Returns:
        What stands behind FROM, with the columns `key` and those of `runs`, and its values.
    """
    if after is None and query.after is not None:
        due, started_at, _ = due_key(query.after)
        after = Place(due, started_at, sql_text(query.after.run_id or ""))
    chosen = query.chosen
    found, values = conditions(chosen._replace(statuses=None))
    found.append(in_order)
    values |= {"flow": flow, "before": query.due_before}
    if after is not None:
        values |= {"due": after.due, "began": after.started_at, "name": after.run_id}
    stretches = [
        _STRETCH.format(
            key=DUE if one.is_by_time else "started_at",
            # SQLite would take another index for a page behind the first.
            index=" INDEXED BY runs_due" if query.unowned else "",
            owner="owner IS NULL" if query.unowned else "TRUE",
            status=one.status,
            condition=one.condition,
            more=" AND ".join(found + _behind(one, after)),
            order=f"{DUE}, " if one.is_by_time else "",
        )
        for one in _STRETCHES
        if chosen.statuses is None or one.status in chosen.statuses
    ]
    nothing = "SELECT NULL AS found, NULL AS key, NULL AS began, NULL AS name WHERE FALSE"
    return _ROWS.format(" UNION ALL ".join([nothing, *stretches])), values


def _behind(stretch: Stretch, after: Place | None) -> list[str]:
    """The condition for the rows of a stretch behind a place."""
    if after is None:
        return []
    name = "CAST(:name AS TEXT)" if after.is_text else ":name"
    if stretch.is_by_time:
        return [f"({DUE}, started_at, run_id) > (:due, :began, {name})"]
    behind = f"(started_at, started_at, run_id) > (:due, :began, {name})"
    return ["started_at >= :due", behind]  # The first one is for the index.
