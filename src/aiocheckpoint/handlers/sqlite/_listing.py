"""Lists of runs, and pruning, by the columns of a database. No state is read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint._errors.owner import describe_process
from aiocheckpoint._model.due import is_due
from aiocheckpoint._model.start_record import Ownership, StartRecord, shown_header
from aiocheckpoint._snapshot.footer import SIGNATURE_BYTES, SIGNATURE_FROM_END
from aiocheckpoint.handlers._filter_columns import id_prefix
from aiocheckpoint.handlers._query import due_key
from aiocheckpoint.handlers.sqlite._conditions import (
    BY_IDS_IN_RANGE,
    IDS_IN_RANGE,
    conditions,
    prefix_values,
)
from aiocheckpoint.handlers.sqlite._due_runs import Place, due_rows
from aiocheckpoint.handlers.sqlite._progress_table import delete_progress
from aiocheckpoint.handlers.sqlite._schema import has_starts
from aiocheckpoint.handlers.sqlite._text import sql_text, stored_text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.start_record import Loss
    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers.sqlite._liveness import OwnerLooks

__all__ = [
    "OwnedRow",
    "Row",
    "in_short_range",
    "listed",
    "owned_columns",
    "owned_row",
    "prune_rows",
]

_AT_ONCE = 500
_MOST_ROWS = (1 << 63) - 1
_IS_UNSIGNED = (
    f"substr(CAST(footer AS BLOB), -{SIGNATURE_FROM_END}, {SIGNATURE_BYTES}) "
    f"= zeroblob({SIGNATURE_BYTES})"
)
"""Whether the trailer has neither a signature nor the id of a secret."""


class Row(NamedTuple):
    """The columns of one run in a list.

    Attributes:
        owned: The columns beside the snapshot.
        stored_id: The run's id in UTF-8, empty for none, as another program may have stored it.
        is_text: Whether the id is stored as text.
        started_at: When the run began.
        footer: The footer of its snapshot.
        payload_length: Length of the payload in bytes.
        due: The key of the order by `due_before`. None in any other list.
    """

    owned: OwnedRow
    stored_id: bytes
    is_text: int
    started_at: float
    footer: bytes
    payload_length: int
    due: float | None = None

    @property
    def run_id(self) -> str | None:
        """The run, or None. An id that is no UTF-8 becomes one that no snapshot has."""
        return stored_text(self.stored_id) or None

    def completed(self, header: Header, looks: OwnerLooks) -> Header:
        """Add owner and starts to a header, and the columns by which a list is ordered.

        A time that another program has changed in the row alone would make a list whose pages have
        no end.
        """
        columns = self.run_id, self.started_at
        if (header.run_id, header.started_at) != columns:
            header = replace(header, run_id=self.run_id, started_at=self.started_at)
        if header.finished and self.owned.owner_id is None:
            return header
        return shown_header(header, self.owned.known(looks))

    def if_due(self, header: Header, before: float) -> Header | None:
        """The header of a run that is due, with the time by which the list is ordered, or None.

        The header decides, as 0.5 leaves the column as it is. But the list is ordered by the
        column, and the next page begins behind the last header. So the header gets the time of
        the column, and a run that cannot have that time is left out.
        """
        if not is_due(header, before):
            return None
        if due_key(header)[0] != self.due:
            header = replace(header, due=self.due or None)
        return header if due_key(header)[0] == self.due else None


class OwnedRow(NamedTuple):
    """The columns of a run beside its snapshot.

    Attributes:
        owner_id: Id of the present owner, or None.
        pid, host, boot: Columns of that owner, or None.
        start: The record of the last start, or None.
        lost: What became of an owner that has recorded no end, or None.
        draining: Whether the present owner has begun to drain, or None.
    """

    owner_id: bytes | None
    pid: int | None
    host: bytes | None
    boot: bytes | None
    start: bytes | None
    lost: bytes | None
    draining: int | None

    def known(self, looks: OwnerLooks) -> Ownership:
        """What these columns say, and the lock file of the owner."""
        record = None if self.start is None else StartRecord.decode(self.start)
        loss = _LOSSES.get(self.lost or b"")
        if self.owner_id is None:
            return Ownership(record, None, loss)
        host, boot = _text(self.host), _text(self.boot)
        if self.pid is not None and looks.may_live(_text(self.owner_id), host, boot):
            return Ownership(record, describe_process(self.pid, host))
        return Ownership(record, None, "drained" if self.draining else "killed")


_LOSSES: dict[bytes, Loss] = {b"killed": "killed", b"drained": "drained"}


def _text(stored: bytes | None) -> str:
    return (stored or b"").decode("utf-8", "replace")


# The CASTs take values of other types, and text that is no UTF-8, which others have stored.
_OWNER = "CAST(runs.owner AS BLOB), CAST(pid AS INTEGER), CAST(host AS BLOB), CAST(boot AS BLOB)"
_DRAINS = "runs.owner IN (SELECT id FROM draining_owners)"
_OWNED = f"{_OWNER}, CAST(start AS BLOB), CAST(lost AS BLOB), {_DRAINS}"
_OWNED_IN_05 = f"{_OWNER}, NULL, NULL, NULL"
_OWNERSHIP = (
    "SELECT {} FROM runs LEFT JOIN owners ON owners.id = runs.owner "
    "WHERE flow = ? AND run_id = ? AND status IS NOT NULL"
)
_ROW = (
    "SELECT CAST(run_id AS BLOB), typeof(run_id) = 'text', started_at, "
    "coalesce(CAST(footer AS BLOB), x''), coalesce(length(CAST(payload AS BLOB)), 0), "
)
_LIST = (
    f"{_ROW}NULL, {{}} FROM runs{{}} LEFT JOIN owners ON owners.id = runs.owner WHERE {{}} "
    "ORDER BY started_at DESC, run_id DESC LIMIT :limit"
)
_DUE_LIST = (
    f"{_ROW}key, {{}} FROM {{}} LEFT JOIN owners ON owners.id = runs.owner "
    "ORDER BY key, started_at, run_id"
)
_MOST_IN_RANGE = 10_000
"""Reading and sorting so many rows takes about 30 ms."""
_COUNT_IN_RANGE = f"SELECT count(*) FROM ({IDS_IN_RANGE} LIMIT :most)"  # noqa: S608 - constants
_IN_ORDER = "typeof(started_at) = 'real' AND typeof(run_id) IN ('text', 'blob')"


def listed(
    connection: sqlite3.Connection, flow: str | bytes, query: Query, after: Row | None = None
) -> list[Row]:
    """List runs of a flow, in the order of the query.

    Rows whose time or id is of another type have no place in the order, and are left out. Where
    the filter of the query is not decided by columns, there are more rows than it chooses.

    Args:
        connection: The database.
        flow: The flow as the table has it.
        query: Which runs.
        after: The last row of the page before, instead of `query.after`.
    """
    if query.due_before is not None:
        return _listed_by_due(connection, flow, query, after)
    found, values = _condition(flow, query if after is None else query._replace(after=None))
    if after is not None:
        key = "CAST(:name AS TEXT)" if after.is_text else ":name"
        found.append(f"(started_at, run_id) < (:began, {key})")
        values |= {"began": after.started_at, "name": after.stored_id}
    index, in_range = in_short_range(connection, query.chosen.ids, values)
    found += [_IN_ORDER, *in_range]
    values["limit"] = _most_rows(query)
    columns = owned_columns(connection.execute)
    statement = _LIST.format(columns, index, " AND ".join(found))
    return [_row(columns) for columns in connection.execute(statement, values)]


def in_short_range(
    connection: sqlite3.Connection, ids: str | None, values: dict[str, Any]
) -> tuple[str, list[str]]:
    """The choice of the ids with a common beginning, if these are not many.

    Many are found faster in the order of the list, as few of its rows have to be passed over.

    Args:
        connection: The database.
        ids: The pattern of the ids, or None.
        values: The values of the statement by name, with the flow. Those of the condition are
            added.

    Returns:
        What stands behind the name of the table, and the conditions. Both are empty for many ids.
    """
    prefix = id_prefix(ids)
    if not prefix:
        return "", []
    values |= prefix_values(prefix)
    (number,) = connection.execute(_COUNT_IN_RANGE, {**values, "most": _MOST_IN_RANGE}).fetchone()
    if number >= _MOST_IN_RANGE:
        return "", []
    return BY_IDS_IN_RANGE, [f"runs.id IN ({IDS_IN_RANGE})"]


def _listed_by_due(
    connection: sqlite3.Connection, flow: str | bytes, query: Query, after: Row | None
) -> list[Row]:
    place = None
    if after is not None:
        place = Place(after.due or 0.0, after.started_at, after.stored_id, bool(after.is_text))
    rows, values = due_rows(flow, query, _IN_ORDER, place)
    values["limit"] = _most_rows(query)
    statement = _DUE_LIST.format(owned_columns(connection.execute), rows)
    return [_row(columns) for columns in connection.execute(statement, values)]


def _most_rows(query: Query) -> int:
    return -1 if query.limit is None else min(query.limit, _MOST_ROWS)


def _row(columns: Sequence[Any]) -> Row:
    return Row._make((OwnedRow._make(columns[6:]), *columns[:6]))


def owned_row(connection: sqlite3.Connection, key: tuple[object, object]) -> OwnedRow | None:
    """The columns of a run beside its snapshot. None where nothing is stored."""
    found = connection.execute(_OWNERSHIP.format(owned_columns(connection.execute)), key).fetchone()
    return None if found is None else OwnedRow(*found)


def owned_columns(execute: Callable[[str], Iterable[Any]]) -> str:
    """The columns of an `OwnedRow`. A database of 0.5 that nobody has written since lacks some.

    Args:
        execute: Gives the rows of a statement.
    """
    return _OWNED if has_starts(execute) else _OWNED_IN_05


def prune_rows(
    connection: sqlite3.Connection, flow: str | bytes, query: Query, *, unsigned: bool
) -> int:
    """Delete up to 500 runs that a query asks for, and give their number, 0 if none is left.

    Runs in progress stay. Rows that stay, because of a trigger that another program has made, do
    not count.

    Args:
        connection: The database, in a transaction.
        flow: The flow as the table has it.
        query: Which runs, by columns alone.
        unsigned: Whether signed runs, and those of which no signature can be told, stay.
    """
    where, values = _condition(flow, query._replace(unowned=True))
    if unsigned:
        where.append(_IS_UNSIGNED)
    ids = connection.execute(
        f"SELECT id FROM runs WHERE {' AND '.join(where)} LIMIT {_AT_ONCE}",  # noqa: S608 - bound
        values,
    ).fetchall()
    connection.executemany("DELETE FROM kept WHERE run = ?", ids)
    delete_progress(ids, connection)
    return connection.executemany("DELETE FROM runs WHERE id = ?", ids).rowcount if ids else 0


def _condition(flow: str | bytes, query: Query) -> tuple[list[str], dict[str, Any]]:
    """The conditions of a query in the order of the list, and their values by name."""
    chosen = query.chosen
    found, values = conditions(chosen)
    values["flow"] = flow
    if chosen.statuses is None:
        found.append("status IS NOT NULL")
    if query.after is not None:
        found.append("(started_at, run_id) < (:began, :name)")
        values["began"], values["name"] = query.after.started_at, sql_text(query.after.run_id or "")
    if query.unowned:
        found.append("owner IS NULL")
    return ["flow = :flow", *found], values
