"""The list of the runs that are due, by one index: no row is read that is not in the list.

The index holds the runs without an owner that have not finished, by status and time. Each part of
the statement below reads one stretch of it in its order. The stretches are merged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint.handlers._filter_columns import UNFINISHED, stretches_of_due_runs
from aiocheckpoint.handlers._query import due_key
from aiocheckpoint.handlers.postgres._conditions import Values, conditions

if TYPE_CHECKING:
    from aiocheckpoint.handlers._filter_columns import Stretch
    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers.leased import RunRow

__all__ = ["due_rows"]

_STRETCHES = stretches_of_due_runs("due", "%(due_before)s")
_STRETCH = (
    "(SELECT id AS found, {key} AS due_key, started_at AS began, run_id AS name "  # noqa: S608
    f"FROM SCHEMA.runs WHERE flow = %(flow)s AND {UNFINISHED} AND status = '{{status}}' "
    "AND {condition} AND {more} ORDER BY {order}started_at, run_id LIMIT %(limit)s)"
)
_ROWS = (
    "(SELECT * FROM ({}) AS stretches ORDER BY due_key, began, name LIMIT %(limit)s) AS places "
    "JOIN SCHEMA.runs ON runs.id = found"
)
_NOTHING = (
    "SELECT NULL::bigint AS found, NULL::float8 AS due_key, NULL::float8 AS began, "
    "NULL::bytea AS name WHERE FALSE"
)


class _Place(NamedTuple):
    """The place of a run in the list, behind which the next page begins."""

    due: float
    started_at: float
    run_id: str | bytes

    @classmethod
    def of(cls, query: Query, after: RunRow | None) -> _Place | None:
        if after is not None:
            return cls(after.due or 0.0, after.started_at, after.run_id)
        return None if query.after is None else cls(*due_key(query.after))


def due_rows(flow: str | bytes, query: Query, after: RunRow | None) -> tuple[str, Values]:
    """The source of the rows of the runs that a query by `due_before` asks for.

    Args:
        flow: The flow as the table has it.
        query: Which runs.
        after: The last row of the page before, instead of `query.after`.

    Returns:
        What stands behind FROM, with the columns `due_key`, `began`, `name` and those of `runs`,
        and its values.
    """
    chosen, place = query.chosen, _Place.of(query, after)
    found, values = conditions(chosen._replace(statuses=None))
    values |= {"flow": flow, "due_before": query.due_before, "limit": query.limit}
    if query.unowned:
        found.append("owner IS NULL")
    if place is not None:
        values |= {"due": place.due, "began": place.started_at, "name": place.run_id}
    stretches = [
        _STRETCH.format(
            key="due" if one.is_by_time else "started_at",
            status=one.status,
            condition=one.condition,
            more=" AND ".join([*found, *([] if place is None else [_behind(one)])]),
            # A condition alone tells PostgreSQL of no order: the column is named with it.
            order="due, " if one.is_by_time or one.condition == "due IS NULL" else "",
        )
        for one in _STRETCHES
        if chosen.statuses is None or one.status in chosen.statuses
    ]
    return _ROWS.format(" UNION ALL ".join([_NOTHING, *stretches])), values


def _behind(stretch: Stretch) -> str:
    """The condition for the rows of a stretch behind a place."""
    if stretch.is_by_time:
        return "(due, started_at, run_id) > (%(due)s, %(began)s, %(name)s)"
    # The first condition is for the index. The time of these runs is that of their begin.
    behind = "(started_at, started_at, run_id) > (%(due)s, %(began)s, %(name)s)"
    return f"started_at >= %(due)s AND {behind}"
