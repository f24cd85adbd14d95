"""The statements about what is stored beside snapshots, and those that release and delete runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._model.statuses import ENDED
from aiocheckpoint.handlers.postgres._names import key_values
from aiocheckpoint.handlers.postgres._packing import RowStatement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint.handlers.leased import LeaseRecord, Release
    from aiocheckpoint.handlers.leased._requests import Key
    from aiocheckpoint.handlers.postgres._server_connection import ServerConnection

__all__ = ["clear_ending", "delete", "release", "write_ending", "write_progress"]

_OF_LEASE = "WHERE runs.id = v.run AND runs.token = v.held"
_LEASE = {"run": "bigint", "held": "bigint"}

_RELEASE = RowStatement(
    """WITH found AS (
    SELECT runs.id, runs.status AS stored, v.status, v.start FROM ROWS JOIN SCHEMA.runs
    ON runs.flow = v.flow AND runs.run_key = v.run_key AND runs.token = v.held
    ORDER BY runs.id FOR UPDATE OF runs
), unborn AS (
    DELETE FROM SCHEMA.runs USING found WHERE runs.id = found.id AND stored IS NULL
)
UPDATE SCHEMA.runs SET owner = NULL, token = 0, status = coalesce(found.status, runs.status),
    start = coalesce(found.start, runs.start)
FROM found WHERE runs.id = found.id AND stored IS NOT NULL""",
    {"flow": "bytea", "run_key": "bytea", "held": "bigint", "status": "text", "start": "text"},
)
_DELETE = """WITH emptied AS (
    UPDATE SCHEMA.runs SET status = NULL, footer = NULL, payload = NULL, started_at = NULL,
        start = NULL, lost = NULL, stopped_by = NULL, due = NULL, ending = NULL
    WHERE id = %(run)s::bigint AND token = %(held)s::bigint AND token <> 0 RETURNING id
), kept AS (
    DELETE FROM SCHEMA.kept USING emptied WHERE run = emptied.id
), progress AS (
    DELETE FROM SCHEMA.progress USING emptied WHERE run = emptied.id
)
SELECT id FROM emptied"""
_WRITE_PROGRESS = RowStatement(
    "INSERT INTO SCHEMA.progress (run, record) SELECT runs.id, v.record FROM ROWS, SCHEMA.runs "  # noqa: S608
    f"{_OF_LEASE} ON CONFLICT (run) DO UPDATE SET record = excluded.record",
    _LEASE,
    ("record",),
)
_DELETE_PROGRESS = RowStatement(
    f"DELETE FROM SCHEMA.progress USING ROWS, SCHEMA.runs {_OF_LEASE} AND progress.run = runs.id",  # noqa: S608
    _LEASE,
)
_ENDED = ", ".join(f"'{status}'" for status in sorted(ENDED))
_WRITE_ENDING = (
    "UPDATE SCHEMA.runs SET ending = %(request)s WHERE flow = %(flow)s AND run_key = %(run_key)s "  # noqa: S608
    f"AND ending IS NULL AND status NOT IN ({_ENDED})"
)
_CLEAR_ENDING = (
    "UPDATE SCHEMA.runs SET ending = NULL WHERE id = %(run)s::bigint AND token = %(held)s::bigint "
    "AND token <> 0"
)


def release(server: ServerConnection, releases: Sequence[Release]) -> None:
    """See `StoreConnection.release`."""
    rows = [
        (*key_values((one.flow, one.run_id)), one.token or None, *(one.before or (None, None)))
        for one in releases
    ]
    if rows:
        server.write_rows(_RELEASE, rows)


def delete(server: ServerConnection, lease: LeaseRecord) -> bool:
    """See `StoreConnection.delete`."""
    return bool(server.rows(_DELETE, _values(lease), doing="writing"))


def write_progress(server: ServerConnection, records: Sequence[tuple[LeaseRecord, bytes]]) -> None:
    """See `StoreConnection.write_progress`."""
    written = [(lease.row, lease.token or None, record) for lease, record in records if record]
    if written:
        server.write_rows(_WRITE_PROGRESS, written)
    deleted = [(lease.row, lease.token or None) for lease, record in records if not record]
    if deleted:
        server.write_rows(_DELETE_PROGRESS, deleted)


def write_ending(server: ServerConnection, key: Key, request: str) -> None:
    """See `StoreConnection.write_ending`."""
    flow, run_key = key_values(key)
    server.write(_WRITE_ENDING, {"flow": flow, "run_key": run_key, "request": request})


def clear_ending(server: ServerConnection, lease: LeaseRecord) -> None:
    """See `StoreConnection.clear_ending`."""
    server.write(_CLEAR_ENDING, _values(lease))


def _values(lease: LeaseRecord) -> dict[str, str]:
    return {"run": str(lease.row), "held": str(lease.token)}
