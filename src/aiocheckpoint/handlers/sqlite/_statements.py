"""The statements that move many runs at once.

Each takes many rows in one `VALUES`, because Python's sqlite3 gives up the interpreter's lock at
every step of a statement: beside a busy event loop, getting it back takes up to 5 ms each time
(`sys.getswitchinterval`). Missing rows are filled up with NULLs, which match nothing, so that a
few sizes of each statement serve for all, and stay prepared.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

__all__ = [
    "CLAIM",
    "INSERT_NEW",
    "MOST_ROWS",
    "SAVE_STATUS",
    "SAVE_STEP",
    "SELECT_CLAIMED",
    "SELECT_STORED",
    "Many",
]

MOST_ROWS = 512


class Many:
    """A statement of many rows.

    Args:
        text: The statement, with {} for the rows of its `VALUES`.
        width: The number of values in a row.
    """

    def __init__(self, text: str, width: int) -> None:
        self._text = text
        self._width = width
        self._filling = (None,) * width

    def execute(
        self, connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]
    ) -> Iterator[sqlite3.Cursor]:
        """Execute it for all rows, in as few statements as may be, and give their cursors."""
        for start in range(0, len(rows), MOST_ROWS):
            some = rows[start : start + MOST_ROWS]
            size = 1 << (len(some) - 1).bit_length()
            values: list[Any] = []
            for row in some:
                values += row
            values += self._filling * (size - len(some))
            yield connection.execute(_spelt_out(self._text, self._width, size), values)


@lru_cache
def _spelt_out(text: str, width: int, size: int) -> str:
    row = f"({', '.join('?' * width)})"
    return text.format(", ".join([row] * size))


_INSERT = (
    "INSERT INTO runs (flow, run_id, owner, token, claimed_at, position, step, sequence, "
    "written_at, footer, payload, status, number, started_at) "
    "SELECT * FROM (VALUES {}) WHERE column1 IS NOT NULL"
)

INSERT_NEW = Many(_INSERT, 14)
"""Take runs of which there is nothing yet, with the values of a `CLAIM`, one id after the other
(https://www.sqlite.org/autoinc.html); does nothing, and raises IntegrityError, where there is."""

CLAIM = Many(
    f"{_INSERT} ON CONFLICT (flow, run_id) DO UPDATE SET "
    "owner = excluded.owner, token = excluded.token, claimed_at = excluded.claimed_at "
    "WHERE runs.owner IS NULL",
    14,
)
"""Take the runs that nobody owns: flow, run id, owner, token, time, and the first snapshot, stored
where there is no such run yet, or NULLs."""

SELECT_CLAIMED = Many(
    "SELECT group_concat(column3 || ' ' || token || ' ' || id || ' ' || "
    "coalesce(owner, '') || ' ' || claimed_at || ' ' || coalesce(length(payload), 0) || ' ' || "
    "CASE WHEN footer IS NULL THEN '-' WHEN footer = column4 THEN '=' "
    "WHEN length(footer) > 4096 THEN '+' ELSE hex(footer) END) "
    "FROM (VALUES {}) JOIN runs ON flow = column1 AND run_id = column2",
    4,
)
"""Tell of runs, by flow, run id, a number of ours and a footer, in one row: that number, token, id,
owner, when it took it, length of the payload, and of the snapshot there: "-" for none, "=" for the
one with the footer given, "+" for one with a long footer, or its footer."""

SELECT_STORED = Many(
    "SELECT group_concat(column3) FROM (VALUES {}) JOIN runs ON id = column1 AND footer = column2",
    3,
)
"""Tell of which runs the snapshot stored has the footer given: id, footer, a number of ours."""

SAVE_STEP = Many(
    "UPDATE runs SET position = column3, step = column4, sequence = column5, "
    "written_at = column6, footer = column7, payload = column8 FROM (VALUES {}) "
    "WHERE id = column1 AND token = column2",
    8,
)
"""Store the snapshot of a run under way: id, token, what changes from step to step."""

SAVE_STATUS = Many(
    "UPDATE runs SET position = column3, step = column4, sequence = column5, "
    "written_at = column6, footer = column7, payload = column8, status = column9, "
    "number = column10, started_at = column11, owner = column12, token = column13 "
    "FROM (VALUES {}) WHERE id = column1 AND token = column2",
    13,
)
"""Store the snapshot of a run that begins or ends: as `SAVE_STEP`, and what else changes then."""
