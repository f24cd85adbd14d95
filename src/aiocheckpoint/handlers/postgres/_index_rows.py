"""The rows of the table as a reader needs them: keys of a list by pages, and rows by their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint.handlers._found_runs import FlowSummary
from aiocheckpoint.handlers._index_rows import FoundRow, IndexRows, KeptRow
from aiocheckpoint.handlers._query import id_key, id_text
from aiocheckpoint.handlers._run_filter import ALL
from aiocheckpoint.handlers.leased._ownership import known_of
from aiocheckpoint.handlers.postgres._conditions import conditions, is_decided
from aiocheckpoint.handlers.postgres._counting import count_statement, counts_of
from aiocheckpoint.handlers.postgres._listing import FOOTERS, OWNED, owned_row
from aiocheckpoint.handlers.postgres._names import key_values
from aiocheckpoint.handlers.postgres._reading import BYTES
from aiocheckpoint.handlers.postgres._seen_owners import JOIN_OWNERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiocheckpoint.handlers._counting import CountBy, Counts
    from aiocheckpoint.handlers._found_runs import Sort
    from aiocheckpoint.handlers._index_rows import Choice
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.handlers.postgres._conditions import Values

__all__ = ["PostgresRows"]

_VALUES: dict[Sort, str] = {
    "began": "started_at",
    "wrote": "written_at",
    "took": "(written_at - started_at)",
}
_IN_ORDER = (
    "SELECT id, {value}, run_id FROM SCHEMA.runs WHERE {where} "
    "ORDER BY {value} DESC, run_id DESC LIMIT %(limit)s"
)
_BY_ID = "SELECT id, 0.0::float8, run_id FROM SCHEMA.runs WHERE {where} ORDER BY id LIMIT %(limit)s"
_ROWS = (
    f"SELECT runs.id, flow, run_id, {FOOTERS}, {OWNED} FROM SCHEMA.runs {JOIN_OWNERS} "  # noqa: S608
    "WHERE {} AND status IS NOT NULL"
)
_FINISHED = (
    "SELECT id FROM SCHEMA.runs WHERE flow = %(flow)s AND status = 'finished' "
    "ORDER BY id DESC LIMIT %(limit)s"
)
# Each name is one step in an index. A DISTINCT would read the index of a million runs.
_NAMES = (
    "WITH RECURSIVE names(name) AS ("
    "(SELECT flow FROM SCHEMA.runs ORDER BY flow LIMIT 1) UNION ALL SELECT "
    "(SELECT flow FROM SCHEMA.runs WHERE flow > name ORDER BY flow LIMIT 1) "
    "FROM names WHERE name IS NOT NULL) SELECT name FROM names WHERE name IS NOT NULL "
    "AND EXISTS (SELECT 1 FROM SCHEMA.runs WHERE flow = name AND status IS NOT NULL)"
)
_TOTAL = "SELECT count(*) FROM SCHEMA.runs WHERE flow = %(flow)s AND status IS NOT NULL"
_SUMS = (
    "SELECT coalesce(sum(octet_length(payload)::bigint + octet_length(footer)), 0)::bigint, "
    "coalesce(min(started_at) FILTER (WHERE started_at > 0), 0), coalesce(max(written_at), 0) "
    "FROM SCHEMA.runs WHERE flow = %(flow)s AND status IS NOT NULL"
)
_KEPT = (
    f"SELECT number, sequence, {FOOTERS} FROM SCHEMA.kept WHERE run = %(run)s "  # noqa: S608
    "ORDER BY sequence DESC LIMIT %(limit)s"
)
_SNAPSHOT = f"SELECT {BYTES} FROM SCHEMA.runs WHERE id = %(run)s AND status IS NOT NULL"  # noqa: S608
_KEPT_SNAPSHOT = (
    f"SELECT {BYTES} FROM SCHEMA.kept WHERE run = %(run)s AND number = %(number)s "  # noqa: S608
    "AND sequence = %(sequence)s"
)
_PROGRESS = "SELECT record FROM SCHEMA.progress WHERE run = %(run)s"


class _Key(NamedTuple):
    """The place of a row in a list: its id, the value that orders the list, and the run id."""

    id: int
    value: float
    run_id: bytes


class PostgresRows(IndexRows):
    """The rows of the table.

    Args:
        read: Gives all rows of a statement with values.
    """

    def __init__(self, read: Callable[[str, Values], list[Any]]) -> None:
        self._read = read

    def flow_names(self) -> list[str]:
        return [id_text(name) for (name,) in self._read(_NAMES, {})]

    def keys(self, choice: Choice, last: _Key | None, size: int) -> list[_Key]:
        found, values = conditions(choice.where)
        values["limit"] = size
        if choice.flow:
            found.insert(0, "flow = %(flow)s")
            values["flow"] = id_key(choice.flow)
        if last is not None:
            values |= {"last_id": last.id, "last_value": last.value, "last_run": last.run_id}
        if choice.sort is None or not choice.flow:
            statement, behind = _BY_ID, "id > %(last_id)s"
        else:
            value = _VALUES[choice.sort]
            statement = _IN_ORDER.replace("{value}", value)
            behind = f"({value}, run_id) < (%(last_value)s, %(last_run)s)"
        where = found if last is None else [*found, behind]
        return [
            _Key._make(row)
            for row in self._read(statement.format(where=" AND ".join(where)), values)
        ]

    def rows(self, ids: Sequence[int]) -> list[FoundRow]:
        read = self._read(_ROWS.format("runs.id = ANY(%(ids)s)"), {"ids": list(ids)})
        found = {row.id: row for row in map(_found, read)}
        return [found[one] for one in ids if one in found]

    def rows_of_run(self, flow: str, run_id: str | None) -> list[FoundRow]:
        name, run = key_values((id_key(flow), id_key(run_id)))
        where = "flow = %(flow)s AND run_key = %(run_key)s"
        return [*map(_found, self._read(_ROWS.format(where), {"flow": name, "run_key": run}))]

    def newest_finished(self, flow: str, limit: int) -> list[int]:
        read = self._read(_FINISHED, {"flow": id_key(flow), "limit": limit})
        return [one for (one,) in read]

    def decides(self, where: RunFilter) -> bool:
        return is_decided(where)

    def counts(self, flow: str, facts: tuple[CountBy, ...], where: RunFilter) -> Counts:
        return counts_of(self._read(*count_statement(id_key(flow), facts, where)), facts, where)

    def total(self, flow: str) -> int:
        ((number,),) = self._read(_TOTAL, {"flow": id_key(flow)})
        return int(number)

    def summary(self, flow: str) -> FlowSummary:
        ((size, oldest, newest),) = self._read(_SUMS, {"flow": id_key(flow)})
        counts = self.counts(flow, ("status",), ALL)
        by_status = {str(status): number for (status,), number in counts.items()}
        return FlowSummary(flow, by_status, None, size, oldest, newest, ())

    def kept(self, row: int, most: int | None) -> list[KeptRow]:
        return [KeptRow._make(one) for one in self._read(_KEPT, {"run": row, "limit": most})]

    def snapshot(self, row: int, kept: tuple[int, int] | None) -> tuple[bytes, bytes] | None:
        if kept is None:
            found = self._read(_SNAPSHOT, {"run": row})
        else:
            number, sequence = kept
            values = {"run": row, "number": number, "sequence": sequence}
            found = self._read(_KEPT_SNAPSHOT, values)
        return next(iter(found), None)

    def progress(self, row: int) -> bytes | None:
        return next((record for (record,) in self._read(_PROGRESS, {"run": row})), None)


def _found(row: Sequence[Any]) -> FoundRow:
    number, flow, run_id, footer, length, *owned = row
    known = known_of(owned_row(owned))
    return FoundRow(number, id_text(flow), id_text(run_id) or None, footer, length, known)
