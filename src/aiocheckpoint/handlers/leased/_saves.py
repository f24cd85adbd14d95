"""Storing the snapshots of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint.errors import LeaseLostError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint.handlers.leased._batches import Batch
    from aiocheckpoint.handlers.leased._writing import WritingStatements

__all__ = ["note_outcomes", "save"]


def save(statements: WritingStatements, batch: Batch, owner_id: str) -> None:
    """Store the snapshots of a batch. Set the error of each whose lease was lost.

    Args:
        statements: The store.
        batch: The batch.
        owner_id: Id of this owner.
    """
    steps = [pending.request for pending in batch.steps]
    status_changes = [pending.request for pending in batch.status_changes]
    if batch.with_progress:  # Before a snapshot that releases the lease.
        saves = [pending.request for pending in batch.with_progress]
        statements.write_progress([(one.lease, one.progress) for one in saves])
    if batch.retaining:
        statements.retain([pending.request for pending in batch.retaining])
    done = statements.save_steps(steps) if steps else 0
    if status_changes:
        done += statements.save_statuses(status_changes, owner_id)
    note_outcomes(statements, batch, done)
    if batch.retaining:  # Only the owner of a run may delete its older snapshots.
        saves = [pending.request for pending in batch.retaining if pending.error is None]
        statements.prune(saves)


def note_outcomes(statements: WritingStatements, batch: Batch, done: int) -> None:
    """Set the error of each snapshot of a batch whose lease was lost, and note requests to end.

    Args:
        statements: The store.
        batch: The batch.
        done: The number of rows that were written.
    """
    if done != len(batch.steps) + len(batch.status_changes):
        _fail_lost_leases(statements, [*batch.steps, *batch.status_changes])
    if batch.status_changes:
        _note_endings(statements, batch.status_changes)


def _note_endings(statements: WritingStatements, group: Sequence[PendingResult[Any]]) -> None:
    """Note the runs that have ended in another way, though their end for good was asked for."""
    ended = [pending.request for pending in group if pending.request.may_leave_ending]
    if ended:
        for number in statements.with_ending(ended):
            ended[number].lease.ending = True


def _fail_lost_leases(statements: WritingStatements, group: Sequence[PendingResult[Any]]) -> None:
    """Set `LeaseLostError` for the requests whose snapshot was not stored."""
    stored = statements.stored([pending.request for pending in group])
    for number, pending in enumerate(group):
        if number not in stored:
            pending.error = LeaseLostError(pending.request.lease.location)
