"""Statements for many runs at once.

Each takes many rows in one `VALUES`. Python's sqlite3 gives up the interpreter's lock at every
step of a statement. Beside a busy event loop, getting the lock back takes up to 5 ms each time
(`sys.getswitchinterval`). Missing rows are filled up with NULLs, which match nothing. A few sizes
of each statement therefore serve for all, and stay prepared.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.statuses import ENDED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "CLAIM",
    "ENDED_IN_SQL",
    "GIVEN_FOOTER",
    "INSERT_NEW",
    "INSERT_QUEUED",
    "LONG_FOOTER",
    "MOST_ROWS",
    "NO_FOOTER",
    "NO_OWNER",
    "OWNER_ID_DIGITS",
    "RECORD_START",
    "SAVE_STATUS",
    "SAVE_STEP",
    "SELECT_CLAIMED",
    "SELECT_ENDINGS",
    "SELECT_INSERTED",
    "SELECT_STORED",
    "MultiRowStatement",
    "no_owner_id",
    "numbers_in",
]

MOST_ROWS = 512

OWNER_ID_DIGITS = 16
NO_OWNER = "-"
"""Word of `SELECT_CLAIMED` for an owner whose id is none, which another program has stored."""

NO_FOOTER, GIVEN_FOOTER, LONG_FOOTER = "-", "=", "+"
"""Words of `SELECT_CLAIMED` for a stored footer: none, the one given, a long or missing one."""


class MultiRowStatement:
    """A statement of many rows.

    Args:
        text: The statement, with {} for the rows of its `VALUES`.
        width: The number of values in a row.
    """

    def __init__(self, text: str, width: int) -> None:
        self._text = text
        self._width = width
        self._padding = (None,) * width

    def execute(
        self,
        connection: sqlite3.Connection,
        rows: Sequence[tuple[Any, ...]],
        common: tuple[Any, ...] = (),
    ) -> Iterator[sqlite3.Cursor]:
        """Execute the statement for all rows, `MOST_ROWS` at a time, and give the cursors.

        Args:
            connection: The connection.
            rows: The values of each row.
            common: Values that the text has in front of the rows.
        """
        for start in range(0, len(rows), MOST_ROWS):
            some = rows[start : start + MOST_ROWS]
            size = 1 << (len(some) - 1).bit_length()
            values: list[Any] = [*common]
            for row in some:
                values += row
            values += self._padding * (size - len(some))
            yield connection.execute(_with_rows(self._text, self._width, size), values)


@lru_cache
def _with_rows(text: str, width: int, size: int) -> str:
    row = f"({', '.join('?' * width)})"
    return text.format(", ".join([row] * size))


def numbers_in(cursors: Iterable[sqlite3.Cursor]) -> set[int]:
    """The numbers that a statement with `group_concat` gives in one text."""
    texts = (cursor.fetchone()[0] or "" for cursor in cursors)
    return {int(number) for text in texts for number in filter(None, text.split(","))}


_INSERT = (
    "INSERT INTO runs (flow, run_id, owner, token, claimed_at, position, step, sequence, "
    "written_at, footer, payload, status, number, started_at) "
    "SELECT * FROM (VALUES {}) WHERE column1 IS NOT NULL"
)

INSERT_NEW = MultiRowStatement(_INSERT, 14)
"""Insert new runs with the values of a `CLAIM`, under consecutive ids
(https://www.sqlite.org/autoinc.html). Raises IntegrityError, and inserts nothing, where one of the
runs has a row already. One statement instead of the four with `CLAIM` takes 4 to 6 % off a run of
five steps."""

CLAIM = MultiRowStatement(
    f"{_INSERT} ON CONFLICT (flow, run_id) DO UPDATE SET "
    "owner = excluded.owner, token = excluded.token, claimed_at = excluded.claimed_at, "
    "due_claim = CASE WHEN runs.due_claim = runs.claimed_at THEN excluded.claimed_at END "
    "WHERE runs.owner IS NULL",
    14,
)
"""Take the runs without an owner. Values: flow, run id, owner, token, time, and the first snapshot,
or NULLs. The snapshot is stored where the run has no row yet."""

INSERT_QUEUED = MultiRowStatement(
    "INSERT INTO runs (flow, run_id, token, claimed_at, position, step, sequence, written_at, "
    "footer, payload, status, number, started_at, due, due_claim) "
    "SELECT ?, column1, 0, column2, ?, ?, ?, column2, column3, column4, ?, ?, column2, ?, column2 "
    "FROM (VALUES {}) WHERE column1 IS NOT NULL ON CONFLICT (flow, run_id) DO NOTHING",
    4,
)
"""Store the first snapshots of runs that nobody owns. A run that has a row already is left out.
Common values: flow, position, step, sequence, status, number, due. Values: run id, the time when it
is stored, footer, payload."""

SELECT_INSERTED = MultiRowStatement(
    "SELECT group_concat(column3) FROM (VALUES {}) "
    "JOIN runs ON flow = column1 AND run_id = column2 AND footer = column4",
    4,
)
"""Find the runs whose stored snapshot has the footer given, by flow, run id, a number of the
caller's and footer. Gives these numbers in one row."""


def no_owner_id(column: str) -> str:
    """A condition for values that are no ids of owners. A text may have a NUL within."""
    return (
        f"(typeof({column}) <> 'text' OR length(CAST({column} AS BLOB)) <> {OWNER_ID_DIGITS} "
        f"OR {column} GLOB '*[^0-9a-f]*')"
    )


SELECT_CLAIMED = MultiRowStatement(
    "SELECT group_concat("  # noqa: S608 - constants alone
    "column3 || ' ' || coalesce(CAST(token AS INTEGER), 0) || ' ' || id || ' ' || "
    f"CASE WHEN owner IS NULL THEN '' WHEN {no_owner_id('owner')} THEN '{NO_OWNER}' ELSE owner END "
    "|| ' ' || coalesce(CAST(claimed_at AS REAL), 0) || ' ' || "
    "coalesce(length(payload), 0) || ' ' || "
    f"CASE WHEN footer = column4 THEN '{GIVEN_FOOTER}' "
    "WHEN length(footer) <= 4096 THEN hex(footer) "
    f"WHEN footer IS NULL AND status IS NULL THEN '{NO_FOOTER}' ELSE '{LONG_FOOTER}' END || ' ' || "
    "CASE WHEN status IS NULL OR status = 'finished' OR footer = column4 THEN '' ELSE hex("
    "status || '/' || coalesce(stopped_by, '') || '/' || coalesce(CAST(number AS INTEGER), 0) || "
    "'/' || coalesce(CAST(position AS INTEGER), 0) || '/' || "
    "coalesce(CAST(sequence AS INTEGER), 0) || '/' || coalesce(lost, '') || '/' || "
    "EXISTS (SELECT 1 FROM progress WHERE run = runs.id) || '/' || coalesce(start, '')) END "
    "|| ' ' || (ending IS NOT NULL)) "
    "FROM (VALUES {}) JOIN runs ON flow = column1 AND run_id = column2",
    4,
)
"""Look up runs by flow, run id, a number of the caller's, and a footer. Gives in one row, for each:
that number, token, id, owner, time of the claim, length of the payload, a word for the stored
footer, in hex the facts by which starts are counted and whether there is a record of its progress,
empty for a run that is new or finished, and whether the end of the run was asked for.
The word is one of the three above, else the footer in hex. All rows come in one text, because each
row of a result is a step of its own. No value of another type makes other words."""

RECORD_START = MultiRowStatement(
    "UPDATE runs SET status = column3, start = column4, lost = NULL FROM (VALUES {}) "
    "WHERE id = column1 AND token = column2",
    4,
)
"""Record the starts of runs that were claimed to go on. Values: id, token, status, record."""

SELECT_STORED = MultiRowStatement(
    "SELECT group_concat(column3) FROM (VALUES {}) JOIN runs ON id = column1 AND footer = column2",
    3,
)
"""Find the runs whose stored snapshot has the footer given, by id, footer and a number of the
caller's. Gives these numbers in one row."""

SAVE_STEP = MultiRowStatement(
    "UPDATE runs SET position = column3, step = column4, sequence = column5, "
    "written_at = column6, footer = column7, payload = column8 FROM (VALUES {}) "
    "WHERE id = column1 AND token = column2",
    8,
)
"""Store the snapshot of a running run. Values: id, token, and the columns that change at each
step."""

ENDED_IN_SQL = "('" + "', '".join(sorted(ENDED)) + "')"
"""The statuses of runs that have ended for good."""

SAVE_STATUS = MultiRowStatement(
    "UPDATE runs SET position = column3, step = column4, sequence = column5, "  # noqa: S608
    "written_at = column6, footer = column7, payload = column8, status = column9, "
    "number = column10, started_at = column11, owner = column12, token = column13, "
    "stopped_by = column14, due = column15, due_claim = claimed_at, "
    f"ending = CASE WHEN column9 IN {ENDED_IN_SQL} OR column9 = 'queued' "
    "OR (column9 = 'stopped' AND column14 = 'requeue') THEN NULL ELSE ending END "
    "FROM (VALUES {}) WHERE id = column1 AND token = column2",
    15,
)
"""Store the snapshot of a run that begins or ends, or is made due. Values: as `SAVE_STEP`, then the
columns that change with the status. A request to terminate the run is deleted with its end for
good. It is also deleted where the run is made due, as the request came earlier."""

SELECT_ENDINGS = MultiRowStatement(
    "SELECT group_concat(column2) FROM (VALUES {}) JOIN runs ON id = column1 "
    "WHERE ending IS NOT NULL",
    2,
)
"""Find the runs whose end was asked for, by id and a number of the caller's. Gives these numbers in
one row."""
