"""The values of the statements that write runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers.leased._requests import due_column

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased._requests import Claim, Save

__all__ = ["claim_values", "status_values", "step_values"]

_NO_SNAPSHOT = (None,) * 9


def claim_values(claim: Claim, owner: str, now: float) -> tuple[Any, ...]:
    """The values of a `CLAIM`."""
    taken = *claim.lease.key, owner, claim.lease.asked_token, now
    if claim.first_snapshot is None:
        return *taken, *_NO_SNAPSHOT
    header, payload, footer = claim.first_snapshot
    return (
        *taken,
        header.position,
        header.next_step,
        header.sequence,
        header.written_at,
        footer,
        payload,
        header.status,
        header.number,
        header.started_at,
    )


def step_values(save: Save) -> tuple[Any, ...]:
    """The values of a `SAVE_STEP`."""
    header, lease = save.header, save.lease
    return (
        lease.row,
        # An earlier snapshot may have released the lease. A free run has the token 0.
        lease.token or None,
        header.position,
        header.next_step,
        header.sequence,
        header.written_at,
        save.footer,
        save.payload,
    )


def status_values(save: Save, owner: str) -> tuple[Any, ...]:
    """The values of a `SAVE_STATUS`."""
    header, ends = save.header, save.ends_run
    return (
        *step_values(save),
        header.status,
        header.number,
        header.started_at,
        None if ends else owner,
        0 if ends else save.lease.token,
        header.stopped_by,
        due_column(header),
    )
