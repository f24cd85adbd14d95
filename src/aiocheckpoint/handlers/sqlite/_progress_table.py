"""The record of a run's progress: a row of a table of its own, by the id of the run's row.

It is written under the token of the lease, and deleted with the run. Where a release before 0.7 has
deleted the run, it stays, and is found again behind another run with the same id of its row. So the
record itself says whose it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._snapshot.progress_record import MOST_PROGRESS_BYTES

if TYPE_CHECKING:
    import sqlite3

    from aiocheckpoint.handlers.leased._requests import LeaseRecord

__all__ = ["delete_progress", "progress_of_row", "read_progress", "write_progress"]

_RECORD = f"coalesce(substr(CAST(record AS BLOB), 1, {MOST_PROGRESS_BYTES + 1}), x'')"
_OF_RUN = (
    f"SELECT {_RECORD} FROM progress JOIN runs ON runs.id = run "  # noqa: S608 - a constant
    "WHERE flow = ? AND run_id = ?"
)
_OF_ROW = f"SELECT {_RECORD} FROM progress WHERE run = ?"  # noqa: S608 - a constant
_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'progress'"
_LEASED = "FROM runs WHERE id = ? AND token = ? AND token <> 0"
_WRITE = (
    f"INSERT INTO progress (run, token, record) SELECT id, token, ? {_LEASED} "
    "ON CONFLICT (run) DO UPDATE SET token = excluded.token, record = excluded.record"
)
_DELETE = f"DELETE FROM progress WHERE run = (SELECT id {_LEASED})"  # noqa: S608 - constants


def write_progress(lease: LeaseRecord, record: bytes, connection: sqlite3.Connection) -> None:
    """Store a record, or delete it for an empty one. Without effect where the lease was lost."""
    if record:
        connection.execute(_WRITE, (record, lease.row, lease.token))
    else:
        connection.execute(_DELETE, (lease.row, lease.token))


def read_progress(key: tuple[object, object], connection: sqlite3.Connection) -> bytes | None:
    """Read the record of a flow and a run as the table has them. None where there is none."""
    if connection.execute(_TABLE).fetchone() is None:
        return None
    found = connection.execute(_OF_RUN, key).fetchone()
    return None if found is None else found[0]


def progress_of_row(row: object, connection: sqlite3.Connection) -> bytes | None:
    """Read the record of the run with that id of its row. None where there is none."""
    if connection.execute(_TABLE).fetchone() is None:  # Written by 0.6 alone.
        return None
    found = connection.execute(_OF_ROW, (row,)).fetchone()
    return None if found is None else found[0]


def delete_progress(rows: list[tuple[int]], connection: sqlite3.Connection) -> None:
    """Delete the records of runs that are deleted."""
    connection.executemany("DELETE FROM progress WHERE run = ?", rows)
