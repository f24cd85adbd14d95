"""Lists of runs, and pruning, by the columns of a database. No state is read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint._model.header import Header
from aiocheckpoint.handlers.sqlite._requests import sql_text

if TYPE_CHECKING:
    import sqlite3

    from aiocheckpoint.handlers._query import Query

__all__ = ["Row", "delete_pruned", "listed"]

_AT_ONCE = 500


class Row(NamedTuple):
    """The columns of one run in a list.

    Attributes:
        run_id: The run, or None.
        footer: The footer of its snapshot.
        payload_length: Length of the payload in bytes.
        pid: Process id of the owner, or None.
        host: Host of the owner, or None.
        started_at: When the run began.
    """

    run_id: str | None
    footer: bytes
    payload_length: int
    pid: int | None
    host: str | None
    started_at: float

    @property
    def page_end(self) -> Header:
        """A header for `Query.after`, sound even where the row's own header is damaged."""
        return Header(flow="", position=0, run_id=self.run_id, started_at=self.started_at)

    def completed(self, header: Header) -> Header:
        """Add the owner's name to a header."""
        if self.pid is None:
            return header
        return replace(header, owner=f"process {self.pid} on {self.host}")


def listed(connection: sqlite3.Connection, flow: str | bytes, query: Query) -> list[Row]:
    """List runs of a flow, the latest begun first."""
    where, values = _condition(flow, query)
    rows = connection.execute(
        "SELECT run_id, CAST(footer AS BLOB), length(CAST(payload AS BLOB)), pid, host, started_at "  # noqa: S608 - values are bound
        f"FROM runs LEFT JOIN owners ON owners.id = runs.owner WHERE {where} "
        "ORDER BY started_at DESC, run_id DESC LIMIT ?",
        (*values, -1 if query.limit is None else query.limit),
    )
    return [Row(_run_id(run_id), *more) for run_id, *more in rows]


def delete_pruned(flow: str | bytes, query: Query, connection: sqlite3.Connection) -> int:
    """Delete up to 500 runs that a query asks for, and give their number, 0 if none is left."""
    where, values = _condition(flow, query._replace(unowned=True))
    ids = connection.execute(
        f"SELECT id FROM runs WHERE {where} LIMIT ?",  # noqa: S608 - values are bound
        (*values, _AT_ONCE),
    ).fetchall()
    connection.executemany("DELETE FROM kept WHERE run = ?", ids)
    connection.executemany("DELETE FROM runs WHERE id = ?", ids)
    return len(ids)


def _condition(flow: str | bytes, query: Query) -> tuple[str, list[Any]]:
    conditions, values = ["flow = ?"], [flow]
    more: list[tuple[str, tuple[Any, ...]]] = [("status IS NOT NULL", ())]
    if query.statuses is not None:
        marks = ", ".join("?" * len(query.statuses))
        more = [(f"status IN ({marks})", tuple(sorted(query.statuses)))]
        if "finished" not in query.statuses:
            # SQLite uses the partial index only where the condition repeats its words.
            more.append(("status <> 'finished'", ()))
    if query.after is not None:
        last = query.after.started_at, sql_text(query.after.run_id or "")
        more.append(("(started_at, run_id) < (?, ?)", last))
    if query.unowned:
        more.append(("owner IS NULL", ()))
    if query.written_before is not None:
        more.append(("written_at < ?", (query.written_before,)))
    for condition, bound in more:
        conditions.append(condition)
        values += bound
    return " AND ".join(conditions), values


def _run_id(stored: str | bytes) -> str | None:
    text = stored.decode("utf-8", "surrogatepass") if isinstance(stored, bytes) else stored
    return text or None
