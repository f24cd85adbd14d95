"""The request to terminate a run in progress: a column of the run's row.

The statement that stores the end of a run for good empties it, see `SAVE_STATUS`. So no request is
left behind a finished run, and none comes behind that: it is stored for unfinished runs alone. The
statement that makes a run due empties it as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers._ending_port import decode_reason
from aiocheckpoint.handlers.sqlite._statements import ENDED_IN_SQL

if TYPE_CHECKING:
    import sqlite3

    from aiocheckpoint.handlers.leased._requests import LeaseRecord

__all__ = ["clear_ending", "endings_of_flow", "read_ending", "write_ending"]

_Key = tuple[str | bytes, str | bytes]
_OF_RUN = "WHERE flow = ? AND run_id = ?"


def write_ending(key: _Key, request: str, connection: sqlite3.Connection) -> None:
    """Store a request, unless there is one, or the run has ended for good."""
    connection.execute(
        f"UPDATE runs SET ending = ? {_OF_RUN} AND ending IS NULL "  # noqa: S608 - a constant
        f"AND status NOT IN {ENDED_IN_SQL}",
        (request, *key),
    )


def clear_ending(lease: LeaseRecord, connection: sqlite3.Connection) -> None:
    """Delete a request, if there is one. Without effect where the lease is not held."""
    connection.execute(
        "UPDATE runs SET ending = NULL WHERE id = ? AND token = ? AND token <> 0",
        (lease.row, lease.token),
    )


def read_ending(key: _Key, connection: sqlite3.Connection) -> str | None:
    """Read the reason of a request. None where there is none."""
    found = connection.execute(f"SELECT ending FROM runs {_OF_RUN}", key).fetchone()  # noqa: S608
    return None if found is None else _reason(found[0])


def endings_of_flow(flow: str | bytes, connection: sqlite3.Connection) -> dict[str | bytes, str]:
    """Read the reasons of all requests of a flow, by the ids of the runs as the table has them."""
    rows = connection.execute(
        "SELECT run_id, ending FROM runs INDEXED BY runs_ending "
        "WHERE ending IS NOT NULL AND flow = ?",
        (flow,),
    )
    return {run_id: _reason(ending) or "" for run_id, ending in rows}


def _reason(stored: Any) -> str | None:  # noqa: ANN401 - of any type, by another program
    if stored is None:
        return None
    return (decode_reason(stored) or "") if isinstance(stored, (str, bytes)) else ""
