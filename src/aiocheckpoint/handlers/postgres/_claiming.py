"""The statement of claims: it takes all free runs of a batch, and makes the new ones.

One order keeps two processes that claim the same runs from a deadlock: first the new runs by their
keys, then the free ones by their rows. Runs with an owner are not locked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers.leased import StoredRun
from aiocheckpoint.handlers.postgres._fencing import LEASE, OF_LEASE
from aiocheckpoint.handlers.postgres._names import key_values, stored_bytes
from aiocheckpoint.handlers.postgres._packing import RowStatement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint.handlers.leased import Claim, StartRow
    from aiocheckpoint.handlers.postgres._packing import Call
    from aiocheckpoint.handlers.postgres._server_connection import ServerConnection

__all__ = ["claim", "claim_call", "claimed", "record_starts"]

_MOST_FOOTER_BYTES = 4096
"""Longer footers are read from the row when they are needed."""

_KEY = {"n": "bigint", "flow": "bytea", "run_key": "bytea"}
_CLAIMED = {
    **_KEY,
    "run_id": "bytea",
    "asked_token": "bigint",
    "position": "bigint",
    "step": "bytea",
    "sequence": "bigint",
    "written_at": "double precision",
    "status": "text",
    "number": "bigint",
    "started_at": "double precision",
}
_NO_SNAPSHOT = (None,) * 9

_OF_ROW = (
    "runs.id, runs.token, owner, claimed_at, coalesce(octet_length(payload), 0), "  # noqa: S608
    "CASE WHEN footer IS NULL AND status IS NULL THEN NULL "
    f"WHEN octet_length(footer) <= {_MOST_FOOTER_BYTES} THEN footer ELSE '' END, "
    "status, stopped_by, coalesce(number, 0), coalesce(position, 0), coalesce(sequence, 0), lost, "
    "start, EXISTS (SELECT 1 FROM SCHEMA.progress WHERE progress.run = runs.id), "
    "ending IS NOT NULL"
)
"""The attributes of a `StoredRun` behind the first."""
_OF_NEW = (
    "id, token, NULL, NULL::double precision, NULL::bigint, NULL::bytea, NULL, NULL, NULL::bigint, "
    "NULL::bigint, NULL::bigint, NULL, NULL, NULL::boolean, NULL::boolean"
)
"""In their place. The rest is known from the claim."""
_JOINED = "runs.flow = {0}.flow AND runs.run_key = {0}.run_key"

_MAY_TAKE = "(%(unfinished)s OR coalesce(runs.status, 'finished') = 'finished')"
"""Without a transaction around it, the statement takes no run whose start is to be counted."""

_CLAIM = RowStatement(
    f"""WITH me AS (
    SELECT FROM SCHEMA.owners WHERE id = %(owner)s FOR KEY SHARE
), new AS (
    INSERT INTO SCHEMA.runs (flow, run_id, owner, token, claimed_at, position, step, sequence,
        written_at, status, number, started_at, footer, payload)
    SELECT v.flow, v.run_id, %(owner)s, v.asked_token, %(now)s, v.position, v.step, v.sequence,
        v.written_at, v.status, v.number, v.started_at, v.footer, v.payload
    FROM ROWS LEFT JOIN SCHEMA.runs ON {_JOINED.format("v")}
    WHERE runs.id IS NULL AND EXISTS (SELECT FROM me) ORDER BY v.flow, v.run_key
    ON CONFLICT (flow, run_key) DO NOTHING
    RETURNING id, token
), free AS (
    SELECT runs.id, keys.n, keys.asked_token FROM KEYS JOIN SCHEMA.runs ON {_JOINED.format("keys")}
    WHERE runs.owner IS NULL AND {_MAY_TAKE} AND EXISTS (SELECT FROM me)
    ORDER BY runs.id FOR UPDATE OF runs
), taken AS (
    UPDATE SCHEMA.runs SET owner = %(owner)s, token = free.asked_token, claimed_at = %(now)s
    FROM free WHERE runs.id = free.id
    RETURNING free.n, {_OF_ROW}
)
SELECT NULL::bigint, {_OF_NEW} FROM new
UNION ALL SELECT * FROM taken
UNION ALL SELECT keys.n, {_OF_ROW} FROM KEYS JOIN SCHEMA.runs ON {_JOINED.format("keys")}
WHERE runs.owner IS NOT NULL OR NOT {_MAY_TAKE}""",  # noqa: S608 - constants
    _CLAIMED,
    ("footer", "payload"),
    keys=("n", "flow", "run_key", "asked_token"),
)
"""Gives the rows that were made, those that were taken, and those that were left alone."""

_SELECT = RowStatement(
    f"SELECT v.n, {_OF_ROW} FROM ROWS JOIN SCHEMA.runs ON {_JOINED.format('v')}",  # noqa: S608
    _KEY,
)
_RECORD_START = RowStatement(
    "UPDATE SCHEMA.runs SET status = v.status, start = v.start, lost = NULL "  # noqa: S608
    f"FROM ROWS {OF_LEASE}",
    {**LEASE, "status": "text", "start": "text"},
)


def claim(
    server: ServerConnection, claims: Sequence[Claim], owner_id: str, now: float
) -> list[StoredRun]:
    """See `StoreConnection.claim`."""
    rows = server.rows_of_call(claim_call(claims, owner_id, now, alone=server.commits_alone))
    return claimed(server, claims, rows, owner_id, now)


def claim_call(claims: Sequence[Claim], owner_id: str, now: float, *, alone: bool) -> Call:
    """Give the statement of claims.

    Args:
        claims: The claims.
        owner_id: The owner.
        now: Seconds since the epoch.
        alone: Whether it commits without the starts of the runs. Then it takes no unfinished run.
    """
    rows = [_values(number, one) for number, one in enumerate(claims)]
    return _CLAIM.call(rows, owner=owner_id, now=repr(now), unfinished=not alone)


def claimed(
    server: ServerConnection,
    claims: Sequence[Claim],
    rows: Sequence[tuple[Any, ...]],
    owner_id: str,
    now: float,
) -> list[StoredRun]:
    """Give the rows of runs behind the statement of claims, which has given these rows."""
    asked = {one.lease.asked_token: number for number, one in enumerate(claims)}
    found: dict[int, StoredRun] = {}
    for number, *columns in rows:
        if number is None:
            row, token, *_ = columns
            number = asked[token]  # noqa: PLW2901 - the rest of the row is empty
            found[number] = _new_run(number, claims[number], row, owner_id, now)
        else:
            found[number] = StoredRun._make((number, *columns))
    # Others have made, taken or released these since the statement began.
    missed = [
        (number, *key_values(one.lease.key))
        for number, one in enumerate(claims)
        if number not in found
    ]
    if missed:
        found.update((row[0], StoredRun._make(row)) for row in server.rows_of(_SELECT, missed))
    return list(found.values())


def record_starts(server: ServerConnection, starts: Sequence[StartRow]) -> None:
    """See `StoreConnection.record_starts`."""
    if starts:
        server.write_rows(_RECORD_START, starts)


def _values(number: int, claim: Claim) -> tuple[Any, ...]:
    flow, run_key = key_values(claim.lease.key)
    key = number, flow, run_key, stored_bytes(claim.lease.key[1]), claim.lease.asked_token
    if claim.first_snapshot is None:
        return (*key, *_NO_SNAPSHOT)
    header, payload, footer = claim.first_snapshot
    return (
        *key,
        header.position,
        None if header.next_step is None else stored_bytes(header.next_step),
        header.sequence,
        header.written_at,
        header.status,
        header.number,
        header.started_at,
        footer,
        payload,
    )


def _new_run(number: int, claim: Claim, row: int, owner_id: str, now: float) -> StoredRun:
    """The row of a run that the claim has made, without a way over the network."""
    header, payload, footer = claim.first_snapshot or (None, b"", None)
    return StoredRun(
        number=number,
        row=row,
        token=claim.lease.asked_token,
        owner=owner_id,
        since=now,
        payload_length=len(payload),
        footer=footer,
        status=None if header is None else header.status,
        stopped_by=None,
        run_number=0 if header is None else header.number,
        position=0 if header is None else header.position,
        sequence=0 if header is None else header.sequence,
        lost=None,
        start=None,
        has_progress=False,
        ending=False,
    )
