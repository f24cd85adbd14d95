"""The statements that read the snapshot of one run, delete, release or queue it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint.handlers.sqlite._progress_table import delete_progress
from aiocheckpoint.handlers.sqlite._statements import INSERT_QUEUED, SELECT_INSERTED, numbers_in

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from aiocheckpoint.handlers.leased._requests import LeaseRecord, Release
    from aiocheckpoint.handlers.leased._rows import QueuedColumns, QueuedRow

__all__ = ["NEWEST", "NEWEST_FOOTER", "RETAINED", "delete_run", "insert_queued", "release"]

# A value of another type, stored by another program, becomes ordinary damage. Without a payload
# and a footer that byte stays, as nothing at all would mean a run without a snapshot.
NEWEST = (
    "SELECT coalesce(CAST(payload AS BLOB), x''), coalesce(CAST(footer AS BLOB), x'00') FROM runs "
    "WHERE flow = ? AND run_id = ? AND status IS NOT NULL"
)
NEWEST_FOOTER = (
    "SELECT coalesce(CAST(footer AS BLOB), x'00'), coalesce(length(payload), 0) FROM runs "
    "WHERE flow = ? AND run_id = ? AND status IS NOT NULL"
)
RETAINED = (
    "SELECT coalesce(CAST(kept.payload AS BLOB), x''), coalesce(CAST(kept.footer AS BLOB), x'00') "
    "FROM kept JOIN runs ON runs.id = kept.run "
    "WHERE flow = ? AND run_id = ? AND kept.number = ? AND kept.sequence = ?"
)


def release(connection: sqlite3.Connection, request: Release) -> None:
    """Release the lease of a run. A row without a snapshot is deleted."""
    where, key = "WHERE flow = ? AND run_id = ? AND token = ?", request[:3]
    connection.execute(f"DELETE FROM runs {where} AND status IS NULL", key)  # noqa: S608
    if request.before is not None:
        connection.execute(f"UPDATE runs SET status = ?, start = ? {where}", request.before + key)  # noqa: S608
    connection.execute(f"UPDATE runs SET owner = NULL, token = 0 {where}", key)  # noqa: S608


def insert_queued(
    connection: sqlite3.Connection, common: QueuedColumns, rows: Sequence[QueuedRow]
) -> set[int]:
    """Insert rows that nobody owns, and give the number of each whose run has a row already."""
    done = sum(cursor.rowcount for cursor in INSERT_QUEUED.execute(connection, rows, common))
    if done == len(rows):
        return set()
    named = [(common.flow, row.run_id, number, row.footer) for number, row in enumerate(rows)]
    return set(range(len(rows))) - numbers_in(SELECT_INSERTED.execute(connection, named))


def delete_run(lease: LeaseRecord, connection: sqlite3.Connection) -> bool:
    """Empty the row of a run. Releasing the lease then deletes it.

    Returns:
        Whether the lease is still valid. Else nothing is changed.
    """
    done = connection.execute(
        "UPDATE runs SET status = NULL, footer = NULL, payload = NULL, started_at = NULL, "
        "start = NULL, lost = NULL, stopped_by = NULL, due = NULL, ending = NULL "
        "WHERE id = ? AND token = ? AND token <> 0",
        (lease.row, lease.token),
    )
    if not done.rowcount:
        return False
    connection.execute("DELETE FROM kept WHERE run = ?", (lease.row,))
    delete_progress([(lease.row,)], connection)
    return True
