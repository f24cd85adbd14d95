"""Claiming runs: new ones, free ones, and those of owners that are gone."""

from __future__ import annotations

import contextlib
import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint._model.start_record import SHOWN_RUNNING_AFTER_CLAIM, StartRecord, next_start
from aiocheckpoint.errors import RunInProgressError
from aiocheckpoint.handlers.leased._requests import Claimed
from aiocheckpoint.handlers.leased._rows import StartRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint._model.start_record import Loss
    from aiocheckpoint.handlers.leased._requests import Claim
    from aiocheckpoint.handlers.leased._rows import StoredRun
    from aiocheckpoint.handlers.leased._session import LivingOwner, Session

__all__ = [
    "ask",
    "claim",
    "claim_from_dead_owners",
    "in_progress",
    "set_claimed",
    "start_of",
]


def ask(session: Session, group: Sequence[PendingResult[Any]]) -> None:
    """Note the tokens that claims are made with, so that one without an answer can be released."""
    owner_id, tokens = session.owner_id, session.tokens
    for pending in group:
        lease = pending.request.lease
        lease.owner, lease.asked_token = owner_id, lease.asked_token or next(tokens)


def claim(session: Session, group: Sequence[PendingResult[Any]], now: float) -> None:
    """Claim the free runs, and set the results of their requests. Note the owners of the others."""
    ask(session, group)
    claims = [pending.request for pending in group]
    set_claimed(session, group, session.statements.claim(claims, session.owner_id, now), now)


def claim_from_dead_owners(
    session: Session, group: Sequence[PendingResult[Any]], now: float
) -> None:
    """Claim the runs of dead owners. Set the error of each other request, with the owner's name."""
    found = dict(session.living(_owners_of(group)))
    claim(session, group, now)
    refused = [pending for pending in group if pending.result is None]
    # A run may have been released and claimed by another owner meanwhile.
    found.update(session.living(_owners_of(refused) - found.keys()))
    for pending in refused:
        lease = pending.request.lease
        pending.error = in_progress(pending.request, found.get(lease.refused_by), lease.refused_at)


def _owners_of(group: Sequence[PendingResult[Any]]) -> set[str]:
    return {pending.request.lease.refused_by for pending in group} - {""}


def set_claimed(
    session: Session, group: Sequence[PendingResult[Any]], runs: Sequence[StoredRun], now: float
) -> None:
    """Set the results of claims by the rows that they have left, and record the starts.

    Args:
        session: The session.
        group: The claims.
        runs: The rows.
        now: The time that the claims were made with.
    """
    starts: list[StartRow] = []
    for pending in group:
        pending.request.lease.refused_by = ""
    for run in runs:
        request = group[run.number].request
        lease = request.lease
        if run.token != lease.asked_token:
            lease.refused_by, lease.refused_at = run.owner or "", run.since
            continue
        inserted = request.footer is not None and run.footer == request.footer
        footer = b"" if inserted or run.footer is None else run.footer or None
        start = None
        if request.runs and not inserted and run.status not in {None, "finished"}:
            start = start_of(request, run, starts, now)
        group[run.number].result = Claimed(
            row=run.row,
            token=run.token,
            payload_length=run.payload_length,
            footer=footer,
            inserted=inserted,
            start=start,
            ending=run.ending,
            has_progress=run.has_progress and start is not None,
        )
    if starts:
        session.statements.record_starts(starts)


class _Facts(NamedTuple):
    """The facts of a stored run that starts are counted by."""

    status: str
    stopped_by: str | None
    number: int
    position: int
    sequence: int


def start_of(
    claim: Claim, run: StoredRun, starts: list[StartRow], now: float
) -> tuple[StartRecord, str]:
    """The record of a start of a run, and the run's status before it. Add it to those to record.

    A claim that is repeated, because the answer to it was lost, finds the record that it has
    stored. In a row that it has taken just now, an equal record is another one's.
    """
    lease = claim.lease
    if lease.counted is not None and run.lost is None and run.since != now:
        record, status = lease.counted
        if (run.start, run.sequence) == (record.encode(), record.sequence):
            return lease.counted
    status = run.status or ""
    stored = _Facts(status, run.stopped_by, run.run_number, run.position, run.sequence)
    loss: Loss | None = run.lost if run.lost in {"killed", "drained"} else None  # type: ignore[assignment]
    record = next_start(stored, StartRecord.decode(run.start or ""), loss)
    shown = "running" if status in SHOWN_RUNNING_AFTER_CLAIM else status
    starts.append(StartRow(run.row, run.token, shown, record.encode()))
    lease.counted = record, status
    return lease.counted


def in_progress(claim: Claim, owner: LivingOwner | None, since: float) -> RunInProgressError:
    pid: int | None = os.getpid()
    host: str | None = socket.gethostname()
    lease_left, end_is_seen = None, False
    if owner is not None:  # Else another run of this process was faster in the same transaction.
        pid, host, lease_left = owner.pid, owner.host, owner.lease_left
        end_is_seen = owner.end_is_seen
    taken = None
    with contextlib.suppress(ValueError, OverflowError, OSError):  # a time that no calendar has
        taken = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")
    return RunInProgressError(
        claim.lease.location,
        pid=pid,
        host=host,
        since=taken,
        lease_left=lease_left,
        end_is_seen=end_is_seen,
    )
