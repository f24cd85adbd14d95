"""Lists of runs, and pruning, by the columns of a database. No state is read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint.handlers.sqlite._requests import sql_text

if TYPE_CHECKING:
    import sqlite3

    from aiocheckpoint._model.header import Header
    from aiocheckpoint.handlers._query import Query

__all__ = ["Row", "delete_pruned", "listed"]

_AT_ONCE = 500
_MOST_ROWS = (1 << 63) - 1


class Row(NamedTuple):
    """The columns of one run in a list.

    Attributes:
        stored_id: The run's id in UTF-8, empty for none, as another program may have stored it.
        is_text: Whether the id is stored as text.
        started_at: When the run began.
        footer: The footer of its snapshot.
        payload_length: Length of the payload in bytes.
        pid: Process id of the owner, or None.
        host: Host of the owner, or None.
    """

    stored_id: bytes
    is_text: int
    started_at: float
    footer: bytes
    payload_length: int
    pid: int | None
    host: bytes | None

    @property
    def run_id(self) -> str | None:
        """The run, or None. An id that is no UTF-8 becomes one that no snapshot has."""
        try:
            return self.stored_id.decode("utf-8", "surrogatepass") or None
        except UnicodeDecodeError:
            return self.stored_id.decode("utf-8", "replace")

    def completed(self, header: Header) -> Header:
        """Add the owner's name to a header, and the columns by which a list is ordered.

        A time that another program has changed in the row alone would make a list whose pages have
        no end.
        """
        columns = self.run_id, self.started_at, self._owner
        if (header.run_id, header.started_at, None) == columns:
            return header
        run_id, started_at, owner = columns
        return replace(header, run_id=run_id, started_at=started_at, owner=owner)

    @property
    def _owner(self) -> str | None:
        if self.pid is None:
            return None
        return f"process {self.pid} on {(self.host or b'').decode('utf-8', 'replace')}"


# The CASTs take values of other types, and text that is no UTF-8, which others have stored.
_LIST = (
    "SELECT CAST(run_id AS BLOB), typeof(run_id) = 'text', started_at, "
    "coalesce(CAST(footer AS BLOB), x''), coalesce(length(CAST(payload AS BLOB)), 0), "
    "CAST(pid AS INTEGER), CAST(host AS BLOB) "
    "FROM runs LEFT JOIN owners ON owners.id = runs.owner WHERE {} "
    "ORDER BY started_at DESC, run_id DESC LIMIT ?"
)
_IN_ORDER = "typeof(started_at) = 'real' AND typeof(run_id) IN ('text', 'blob')"


def listed(
    connection: sqlite3.Connection, flow: str | bytes, query: Query, after: Row | None = None
) -> list[Row]:
    """List runs of a flow, the latest begun first.

    Rows whose time or id is of another type have no place in the order, and are left out.

    Args:
        connection: The database.
        flow: The flow as the table has it.
        query: Which runs.
        after: The last row of the page before, instead of `query.after`.
    """
    where, values = _condition(flow, query if after is None else query._replace(after=None))
    if after is not None:
        key = "CAST(? AS TEXT)" if after.is_text else "?"
        where += f" AND (started_at, run_id) < (?, {key})"
        values += [after.started_at, after.stored_id]
    values.append(-1 if query.limit is None else min(query.limit, _MOST_ROWS))
    return [
        Row(*row) for row in connection.execute(_LIST.format(f"{where} AND {_IN_ORDER}"), values)
    ]


def delete_pruned(flow: str | bytes, query: Query, connection: sqlite3.Connection) -> int:
    """Delete up to 500 runs that a query asks for, and give their number, 0 if none is left.

    Rows that stay, because of a trigger that another program has made, do not count.
    """
    where, values = _condition(flow, query._replace(unowned=True))
    ids = connection.execute(
        f"SELECT id FROM runs WHERE {where} LIMIT ?",  # noqa: S608 - values are bound
        (*values, _AT_ONCE),
    ).fetchall()
    connection.executemany("DELETE FROM kept WHERE run = ?", ids)
    return connection.executemany("DELETE FROM runs WHERE id = ?", ids).rowcount if ids else 0


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
