"""Numbers of whole flows, by indexes and columns of a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from aiocheckpoint.handlers._found_runs import FlowSummary
from aiocheckpoint.handlers.sqlite._counting import counted
from aiocheckpoint.handlers.sqlite._stored_rows import PAYLOAD_LENGTH
from aiocheckpoint.handlers.sqlite._text import sql_text, stored_text

if TYPE_CHECKING:
    import sqlite3

    from aiocheckpoint._model.header import Status
    from aiocheckpoint.handlers._counting import CountBy, Counts
    from aiocheckpoint.handlers._run_filter import RunFilter

__all__ = ["counted_finished", "flow_names", "summed", "total"]

# Each name is one step in an index. A DISTINCT would read the index of a million runs.
_NAMES = (
    "WITH RECURSIVE names(name) AS (SELECT min(flow) FROM runs UNION ALL "
    "SELECT (SELECT min(flow) FROM runs WHERE flow > name) FROM names WHERE name IS NOT NULL) "
    "SELECT CAST(name AS BLOB) FROM names WHERE name IS NOT NULL "
    "AND EXISTS (SELECT 1 FROM runs WHERE flow = name AND status IS NOT NULL)"
)
_SUMS = (
    f"SELECT coalesce(sum({PAYLOAD_LENGTH} + coalesce(length(footer), 0)), 0), "  # noqa: S608
    "max(CASE typeof(written_at) WHEN 'real' THEN written_at END) FROM runs "
    "WHERE flow = :flow AND status IS NOT NULL"
)
_TOTAL = "SELECT count(*) FROM runs WHERE flow = ? AND status IS NOT NULL"
_OLDEST = (
    "SELECT started_at FROM runs WHERE flow = :flow AND status IS NOT NULL "
    "AND typeof(started_at) = 'real' AND started_at > 0 ORDER BY started_at LIMIT 1"
)


def flow_names(connection: sqlite3.Connection) -> list[bytes]:
    """Give the names of the flows that have a run, in UTF-8, in their order."""
    return [name for (name,) in connection.execute(_NAMES)]


def total(connection: sqlite3.Connection, flow: str | bytes) -> Counts:
    """Count all runs of a flow, in half of the time of a count by status."""
    (number,) = connection.execute(_TOTAL, (flow,)).fetchone()
    return {(): number} if number else {}


def counted_finished(
    connection: sqlite3.Connection,
    flow: str | bytes,
    facts: tuple[CountBy, ...],
    where: RunFilter,
) -> tuple[Counts, RunFilter]:
    """Count the finished ones of the chosen runs by columns, as their error is None.

    Args:
        connection: The database.
        flow: The flow as the table has it.
        facts: The facts, "error" once among them.
        where: Chooses the runs, by columns alone.

    Returns:
        Their numbers, and the filter of the chosen runs that have not finished.
    """
    found = counted(connection, flow, ("status",), where)
    unfinished = frozenset(str(status) for (status,) in found) - {"finished"}
    rest = where._replace(statuses=cast("frozenset[Status]", unfinished))
    if ("finished",) not in found:
        return {}, rest
    finished = where._replace(statuses=frozenset(("finished",)))
    at = facts.index("error")
    counts = counted(connection, flow, facts[:at] + facts[at + 1 :], finished)
    return {(*key[:at], None, *key[at:]): number for key, number in counts.items()}, rest


def summed(connection: sqlite3.Connection, name: bytes) -> FlowSummary:
    """Sum up a flow. Its steps are left empty."""
    flow = stored_text(name)
    values = {"flow": sql_text(flow)}
    counts = counted(connection, values["flow"], ("status",))
    size, newest = connection.execute(_SUMS, values).fetchone()
    oldest = connection.execute(_OLDEST, values).fetchone()
    return FlowSummary(
        flow,
        {str(status): number for (status,), number in counts.items()},
        None,
        size,
        0.0 if oldest is None else oldest[0],
        newest or 0.0,
        (),
    )
