"""The statements about the progress of runs, and about requests to terminate them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._model.statuses import ENDED
from aiocheckpoint.handlers.postgres._fencing import (
    LEASE,
    OF_LEASE,
    OF_ONE_LEASE,
    lease_columns,
    lease_values,
)
from aiocheckpoint.handlers.postgres._names import key_values
from aiocheckpoint.handlers.postgres._packing import RowStatement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint.handlers.leased import Key, LeaseRecord
    from aiocheckpoint.handlers.postgres._server_connection import ServerConnection

__all__ = ["clear_ending", "write_ending", "write_progress"]

_WRITE_PROGRESS = RowStatement(
    "INSERT INTO SCHEMA.progress (run, record) SELECT runs.id, v.record FROM ROWS, SCHEMA.runs "  # noqa: S608
    f"{OF_LEASE} ON CONFLICT (run) DO UPDATE SET record = excluded.record",
    LEASE,
    ("record",),
)
_DELETE_PROGRESS = RowStatement(
    f"DELETE FROM SCHEMA.progress USING ROWS, SCHEMA.runs {OF_LEASE} AND progress.run = runs.id",  # noqa: S608
    LEASE,
)
_ENDED = ", ".join(f"'{status}'" for status in sorted(ENDED))
_WRITE_ENDING = (
    "UPDATE SCHEMA.runs SET ending = %(request)s WHERE flow = %(flow)s AND run_key = %(run_key)s "  # noqa: S608
    f"AND ending IS NULL AND status NOT IN ({_ENDED})"
)
_CLEAR_ENDING = f"UPDATE SCHEMA.runs SET ending = NULL {OF_ONE_LEASE}"  # noqa: S608 - constants


def write_progress(server: ServerConnection, records: Sequence[tuple[LeaseRecord, bytes]]) -> None:
    """See `StoreConnection.write_progress`."""
    written = [(*lease_columns(lease), record) for lease, record in records if record]
    if written:
        server.write_rows(_WRITE_PROGRESS, written)
    deleted = [lease_columns(lease) for lease, record in records if not record]
    if deleted:
        server.write_rows(_DELETE_PROGRESS, deleted)


def write_ending(server: ServerConnection, key: Key, request: str) -> None:
    """See `StoreConnection.write_ending`."""
    flow, run_key = key_values(key)
    server.write(_WRITE_ENDING, {"flow": flow, "run_key": run_key, "request": request})


def clear_ending(server: ServerConnection, lease: LeaseRecord) -> None:
    """See `StoreConnection.clear_ending`."""
    server.write(_CLEAR_ENDING, lease_values(lease))
