"""The statements that store snapshots under a token, and that keep and delete older ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers.postgres._fencing import LEASE, OF_LEASE, lease_columns
from aiocheckpoint.handlers.postgres._names import stored_bytes
from aiocheckpoint.handlers.postgres._packing import RowStatement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint.handlers.leased import Save
    from aiocheckpoint.handlers.postgres._packing import Call
    from aiocheckpoint.handlers.postgres._server_connection import ServerConnection

__all__ = ["prune", "retain", "status_call", "step_call", "stored", "with_ending"]

_STEP = {
    **LEASE,
    "position": "bigint",
    "step": "bytea",
    "sequence": "bigint",
    "written_at": "double precision",
}
_STATUS = {
    **_STEP,
    "status": "text",
    "number": "bigint",
    "started_at": "double precision",
    "stopped_by": "text",
    "due": "double precision",
    "ends": "boolean",
    "clears": "boolean",
}
_SET_STEP = (
    "UPDATE SCHEMA.runs SET position = v.position, step = v.step, sequence = v.sequence, "
    "written_at = v.written_at, footer = v.footer, payload = v.payload"
)
_NOT_OLDER = "coalesce(runs.sequence, 0) <= v.sequence"

_SAVE_STEPS = RowStatement(
    f"{_SET_STEP} FROM ROWS {OF_LEASE} AND {_NOT_OLDER}", _STEP, ("footer", "payload")
)
_SAVE_STATUSES = RowStatement(
    f"{_SET_STEP}, status = v.status, number = v.number, started_at = v.started_at, "
    "stopped_by = v.stopped_by, due = v.due, "
    "owner = CASE WHEN v.ends THEN NULL ELSE owner END, "
    "token = CASE WHEN v.ends THEN 0 ELSE token END, "
    f"ending = CASE WHEN v.clears THEN NULL ELSE ending END FROM ROWS {OF_LEASE} "
    f"AND (v.ends OR runs.number IS DISTINCT FROM v.number OR {_NOT_OLDER})",
    _STATUS,
    ("footer", "payload"),
)
_RETAIN = RowStatement(
    "INSERT INTO SCHEMA.kept (run, number, sequence, footer, payload) "  # noqa: S608 - constants
    "SELECT id, runs.number, runs.sequence, runs.footer, runs.payload FROM ROWS, SCHEMA.runs "
    f"{OF_LEASE} AND status IS NOT NULL ON CONFLICT (run, number, sequence) DO UPDATE SET "
    "footer = excluded.footer, payload = excluded.payload",
    LEASE,
)
_PRUNE = RowStatement(
    "DELETE FROM SCHEMA.kept USING (SELECT kept.run, kept.number, kept.sequence, most, "
    "row_number() OVER (PARTITION BY kept.run ORDER BY kept.sequence DESC) AS place "
    "FROM ROWS, SCHEMA.kept WHERE kept.run = v.run) AS old "
    "WHERE kept.run = old.run AND kept.number = old.number AND kept.sequence = old.sequence "
    "AND place > most",
    {"run": "bigint", "most": "bigint"},
)
_PRUNE_OTHERS = tuple(
    RowStatement(
        # With <>, every kept row of the run would be read at each step.
        "DELETE FROM SCHEMA.kept USING ROWS WHERE kept.run = v.run "  # noqa: S608 - two constants
        f"AND kept.number {than} v.number",
        {"run": "bigint", "number": "bigint"},
    )
    for than in "<>"
)
_FOOTERS = "SELECT id, footer FROM SCHEMA.runs WHERE id = ANY(%(runs)s::bigint[])"
_ENDINGS = "SELECT id FROM SCHEMA.runs WHERE id = ANY(%(runs)s::bigint[]) AND ending IS NOT NULL"


def step_call(saves: Sequence[Save]) -> Call:
    """Give the statement of `StoreConnection.save_steps`."""
    return _SAVE_STEPS.call([_step(save) for save in saves])


def status_call(saves: Sequence[Save]) -> Call:
    """Give the statement of `StoreConnection.save_statuses`."""
    return _SAVE_STATUSES.call([_status(save) for save in saves])


def stored(server: ServerConnection, saves: Sequence[Save]) -> set[int]:
    """See `StoreConnection.stored`."""
    footers = dict(server.rows(_FOOTERS, {"runs": [save.lease.row for save in saves]}))
    return {
        number for number, save in enumerate(saves) if footers.get(save.lease.row) == save.footer
    }


def with_ending(server: ServerConnection, saves: Sequence[Save]) -> set[int]:
    """See `StoreConnection.with_ending`."""
    found = server.rows(_ENDINGS, {"runs": [save.lease.row for save in saves]})
    runs = {run for (run,) in found}
    return {number for number, save in enumerate(saves) if save.lease.row in runs}


def retain(server: ServerConnection, saves: Sequence[Save]) -> None:
    """See `StoreConnection.retain`."""
    leases = [lease_columns(save.lease) for save in saves if save.amends is None]
    if leases:
        server.write_rows(_RETAIN, leases)


def prune(server: ServerConnection, saves: Sequence[Save]) -> None:
    """See `StoreConnection.prune`."""
    some = [
        (save.lease.row, save.lease.keep - 1) for save in saves if isinstance(save.lease.keep, int)
    ]
    if some:
        server.write_rows(_PRUNE, some)
    every = [(save.lease.row, save.header.number) for save in saves if save.lease.keep == "all"]
    for statement in _PRUNE_OTHERS if every else ():
        server.write_rows(statement, every)


def _step(save: Save) -> tuple[Any, ...]:
    return (*_step_values(save), save.footer, save.payload)


def _status(save: Save) -> tuple[Any, ...]:
    header = save.header
    return (
        *_step_values(save),
        header.status,
        header.number,
        header.started_at,
        header.stopped_by,
        save.due,
        save.ends_run,
        save.clears_ending,
        save.footer,
        save.payload,
    )


def _step_values(save: Save) -> tuple[Any, ...]:
    header, step = save.header, save.header.next_step
    name = None if step is None else stored_bytes(step)
    return (*lease_columns(save.lease), header.position, name, header.sequence, header.written_at)
