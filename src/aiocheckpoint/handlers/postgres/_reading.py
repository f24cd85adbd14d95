"""The statements of a connection that read."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers._filter_columns import FACTS_OF_COLUMNS, is_in_columns
from aiocheckpoint.handlers.leased._reading import ReadingStatements
from aiocheckpoint.handlers.postgres._conditions import is_decided
from aiocheckpoint.handlers.postgres._counting import count_statement, counts_of
from aiocheckpoint.handlers.postgres._listing import (
    FOOTERS,
    OWNERSHIP,
    list_statement,
    owned_row,
    run_row,
)
from aiocheckpoint.handlers.postgres._names import key_values

if TYPE_CHECKING:
    from aiocheckpoint.handlers._counting import CountBy, Counts
    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.handlers.leased import Key, OwnedRow, RunRow
    from aiocheckpoint.handlers.postgres._conditions import Values

__all__ = ["BYTES", "PostgresReading"]

BYTES = "coalesce(payload, ''), coalesce(footer, '\\x00')"
"""Payload and footer. One byte for a missing footer, as nothing at all would mean no snapshot."""
_OF_RUN = "flow = %(flow)s AND run_key = %(run_key)s"
_NEWEST = f"SELECT {BYTES} FROM SCHEMA.runs WHERE {_OF_RUN} AND status IS NOT NULL"  # noqa: S608
_FOOTER = f"SELECT {FOOTERS} FROM SCHEMA.runs WHERE {_OF_RUN} AND status IS NOT NULL"  # noqa: S608
_OF_ROW = f"run = (SELECT id FROM SCHEMA.runs WHERE {_OF_RUN})"  # noqa: S608
_KEPT_ONE = (
    f"SELECT {BYTES} FROM SCHEMA.kept WHERE {_OF_ROW} "  # noqa: S608
    "AND number = %(number)s AND sequence = %(sequence)s"
)
_KEPT = f"SELECT number, sequence FROM SCHEMA.kept WHERE {_OF_ROW} ORDER BY sequence DESC"  # noqa: S608
_PROGRESS = f"SELECT record FROM SCHEMA.progress WHERE {_OF_ROW}"  # noqa: S608
_ENDING = f"SELECT ending FROM SCHEMA.runs WHERE {_OF_RUN} AND ending IS NOT NULL"  # noqa: S608
_ENDINGS = "SELECT run_id, ending FROM SCHEMA.runs WHERE ending IS NOT NULL AND flow = %(flow)s"


class PostgresReading(ReadingStatements):
    """The statements of a connection that read."""

    @abstractmethod
    def rows(self, statement: str, values: Values) -> list[Any]:
        """Give all rows of a statement.

        Args:
            statement: The statement, with SCHEMA for the name of the schema.
            values: Its values by name.

        Raises:
            StorageError: The database cannot be read. A `StoreUnreachableError` where it is out of
                reach for the moment.
        """

    def read_snapshot(self, key: Key, kept: tuple[int, int] | None) -> tuple[bytes, bytes] | None:
        """Read payload and footer of the newest snapshot, or of a kept one."""
        numbers = {} if kept is None else {"number": kept[0], "sequence": kept[1]}
        statement = _NEWEST if kept is None else _KEPT_ONE
        found: tuple[bytes, bytes] | None = self._first(statement, key, **numbers)
        return found

    def read_footer(self, key: Key) -> tuple[bytes, int] | None:
        """Read the footer of the newest snapshot and the length of its payload."""
        found: tuple[bytes, int] | None = self._first(_FOOTER, key)
        return found

    def read_kept(self, key: Key) -> list[tuple[int, int]]:
        """Read number and sequence of each kept snapshot of a run."""
        return self.rows(_KEPT, _values(key))

    def read_progress(self, key: Key) -> bytes | None:
        """Read the record of the progress of a run."""
        found = self._first(_PROGRESS, key)
        return None if found is None else found[0]

    def read_ending(self, key: Key) -> str | None:
        """Read the request to terminate a run."""
        found = self._first(_ENDING, key)
        return None if found is None else found[0]

    def read_endings(self, flow: str | bytes) -> dict[str | bytes, str]:
        """Read the requests to terminate runs of a flow, found by an index."""
        return dict(self.rows(_ENDINGS, {"flow": flow}))

    def read_ownership(self, key: Key) -> OwnedRow | None:
        """Read the columns of a run beside its snapshot."""
        found = self._first(OWNERSHIP, key)
        return None if found is None else owned_row(found)

    def list_runs(self, flow: str | bytes, query: Query, after: RunRow | None) -> list[RunRow]:
        """List runs of a flow that have a snapshot, by their footers alone."""
        return [run_row(columns) for columns in self.rows(*list_statement(flow, query, after))]

    def decides(self, where: RunFilter) -> bool:
        """Whether lists have no other runs than this filter chooses."""
        return is_decided(where)

    def tally(
        self, flow: str | bytes, facts: tuple[CountBy, ...], where: RunFilter
    ) -> Counts | None:
        """Count runs by facts of their columns. None where headers have to be counted."""
        if not is_in_columns(where) or not FACTS_OF_COLUMNS.issuperset(facts):
            return None
        return counts_of(self.rows(*count_statement(flow, facts, where)), facts, where)

    def _first(self, statement: str, key: Key, **more: object) -> Any:  # noqa: ANN401
        return next(iter(self.rows(statement, {**_values(key), **more})), None)


def _values(key: Key) -> Values:
    flow, run = key_values(key)
    return {"flow": flow, "run_key": run}
