"""The statement that stores the first snapshots of runs that nobody owns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint.handlers.postgres._names import run_key, stored_bytes
from aiocheckpoint.handlers.postgres._packing import RowStatement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint.handlers.leased import QueuedColumns, QueuedRow
    from aiocheckpoint.handlers.postgres._server_connection import ServerConnection

__all__ = ["insert_queued"]

_COMMON = (
    "%(position)s::bigint, %(step)s::bytea, %(sequence)s::bigint, %(status)s::text, "
    "%(number)s::bigint, %(due)s::double precision"
)
_INSERT = RowStatement(
    "INSERT INTO SCHEMA.runs (flow, run_id, token, position, step, sequence, status, number, due, "  # noqa: S608
    "claimed_at, written_at, started_at, footer, payload) "
    f"SELECT %(flow)s::bytea, v.run_id, 0, {_COMMON}, v.written_at, v.written_at, v.written_at, "
    "v.footer, v.payload FROM ROWS ORDER BY v.run_id "
    "ON CONFLICT (flow, run_key) DO NOTHING RETURNING run_id",
    {"run_id": "bytea", "written_at": "double precision"},
    ("footer", "payload"),
)
_FOOTERS = (
    "SELECT run_id, footer FROM SCHEMA.runs WHERE flow = %(flow)s::bytea AND run_key = "
    "ANY(%(run_keys)s::bytea[])"
)


def insert_queued(
    server: ServerConnection, common: QueuedColumns, rows: Sequence[QueuedRow]
) -> set[int]:
    """See `StoreConnection.insert_queued`."""
    flow = stored_bytes(common.flow)
    values = [(stored_bytes(row.run_id), row.written_at, row.footer, row.payload) for row in rows]
    of_all = {
        "flow": flow,
        "position": str(common.position),
        "step": None if common.step is None else stored_bytes(common.step),
        "sequence": str(common.sequence),
        "status": common.status,
        "number": str(common.number),
        "due": None if common.due is None else repr(common.due),
    }
    inserted = {run_id for (run_id,) in server.rows_of(_INSERT, values, **of_all)}
    left = [number for number, value in enumerate(values) if value[0] not in inserted]
    if not left:
        return set()
    keys = [run_key(values[number][0]) for number in left]
    footers = dict(server.rows(_FOOTERS, {"flow": flow, "run_keys": keys}))
    # An earlier try, whose answer was lost, has inserted those with our footer.
    return {number for number in left if footers.get(values[number][0]) != values[number][2]}
