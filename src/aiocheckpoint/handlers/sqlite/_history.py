"""The older snapshots of a run in a database: rows of the table `kept`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from aiocheckpoint.handlers.leased._requests import Save

__all__ = ["prune", "retain_current", "retained"]


def retain_current(connection: sqlite3.Connection, saves: Sequence[Save]) -> None:
    """Copy the snapshots about to be replaced, except by a save that amends the same state."""
    for save in saves:
        if save.amends is None:
            connection.execute(
                "INSERT OR REPLACE INTO kept SELECT id, number, sequence, footer, payload "
                "FROM runs WHERE id = ? AND token = ? AND status IS NOT NULL",
                (save.lease.row, save.lease.token or None),  # see `Save.step_values`
            )


def prune(connection: sqlite3.Connection, saves: Sequence[Save]) -> None:
    """Delete the retained snapshots beyond `keep`, after the saves were written."""
    for save in saves:
        row, keep = save.lease.row, save.lease.keep
        if keep == "all":
            # With != or OR, SQLite would look at every retained row of the run at each step.
            for others in ("number < ?", "number > ?"):
                connection.execute(
                    f"DELETE FROM kept WHERE run = ? AND {others}",  # noqa: S608 - two constants
                    (row, save.header.number),
                )
        else:
            connection.execute(
                "DELETE FROM kept WHERE run = :row AND sequence NOT IN (SELECT sequence FROM kept "
                "WHERE run = :row ORDER BY sequence DESC LIMIT :most)",
                {"row": row, "most": keep - 1},
            )


def retained(connection: sqlite3.Connection, key: tuple[object, object]) -> list[tuple[int, int]]:
    """Number and sequence of each retained snapshot of a run, newest first."""
    found = connection.execute(
        "SELECT kept.number, kept.sequence FROM kept JOIN runs ON runs.id = kept.run "
        "WHERE flow = ? AND run_id = ? ORDER BY kept.sequence DESC",
        key,
    )
    return found.fetchall()
