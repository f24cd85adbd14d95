"""The statements that release runs, and that delete what is stored of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint.handlers.postgres._fencing import OF_ONE_LEASE, fenced, lease_values
from aiocheckpoint.handlers.postgres._names import key_values
from aiocheckpoint.handlers.postgres._packing import RowStatement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint.handlers.leased import LeaseRecord, Release
    from aiocheckpoint.handlers.postgres._server_connection import ServerConnection

__all__ = ["delete", "release"]

_RELEASE = RowStatement(
    """WITH found AS (
    SELECT runs.id, runs.status AS stored, v.status, v.start FROM ROWS JOIN SCHEMA.runs
    ON runs.flow = v.flow AND runs.run_key = v.run_key AND runs.token = v.held_token
    ORDER BY runs.id FOR UPDATE OF runs
), unborn AS (
    DELETE FROM SCHEMA.runs USING found WHERE runs.id = found.id AND stored IS NULL
)
UPDATE SCHEMA.runs SET owner = NULL, token = 0, status = coalesce(found.status, runs.status),
    start = coalesce(found.start, runs.start)
FROM found WHERE runs.id = found.id AND stored IS NOT NULL""",
    {
        "flow": "bytea",
        "run_key": "bytea",
        "held_token": "bigint",
        "status": "text",
        "start": "text",
    },
)
_DELETE = f"""WITH emptied AS (
    UPDATE SCHEMA.runs SET status = NULL, footer = NULL, payload = NULL, started_at = NULL,
        start = NULL, lost = NULL, stopped_by = NULL, due = NULL, ending = NULL
    {OF_ONE_LEASE} RETURNING id
), kept AS (
    DELETE FROM SCHEMA.kept USING emptied WHERE run = emptied.id
), progress AS (
    DELETE FROM SCHEMA.progress USING emptied WHERE run = emptied.id
)
SELECT id FROM emptied"""  # noqa: S608 - a constant


def release(server: ServerConnection, releases: Sequence[Release]) -> None:
    """See `StoreConnection.release`."""
    rows = [
        (*key_values((one.flow, one.run_id)), fenced(one.token), *(one.before or (None, None)))
        for one in releases
    ]
    if rows:
        server.write_rows(_RELEASE, rows)


def delete(server: ServerConnection, lease: LeaseRecord) -> bool:
    """See `StoreConnection.delete`."""
    return bool(server.rows(_DELETE, lease_values(lease), doing="writing"))
