"""The statements that read the snapshot of one run, or delete it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint.errors import LeaseLostError
from aiocheckpoint.handlers.sqlite._progress_table import delete_progress

if TYPE_CHECKING:
    import sqlite3

    from aiocheckpoint.handlers.sqlite._requests import LeaseRecord

__all__ = ["NEWEST", "NEWEST_FOOTER", "RETAINED", "delete_run"]

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


def delete_run(lease: LeaseRecord, connection: sqlite3.Connection) -> None:
    """Empty the row of a run. Releasing the lease then deletes it."""
    done = connection.execute(
        "UPDATE runs SET status = NULL, footer = NULL, payload = NULL, started_at = NULL, "
        "start = NULL, lost = NULL, stopped_by = NULL, due = NULL, ending = NULL "
        "WHERE id = ? AND token = ?",
        (lease.row, lease.token),
    )
    if not done.rowcount:
        raise LeaseLostError(lease.location)
    connection.execute("DELETE FROM kept WHERE run = ?", (lease.row,))
    delete_progress([(lease.row,)], connection)
