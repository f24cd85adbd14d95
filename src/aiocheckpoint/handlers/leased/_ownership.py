"""What lists show of the owner of a run: a hint, by what the store knows at one look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._errors.owner import describe_process
from aiocheckpoint._model.start_record import Ownership, StartRecord

if TYPE_CHECKING:
    from aiocheckpoint._model.start_record import Loss
    from aiocheckpoint.handlers.leased._rows import OwnedRow, SeenOwner

__all__ = ["known_of", "may_live"]

_LOSSES: dict[str | None, Loss] = {"killed": "killed", "drained": "drained"}


def known_of(row: OwnedRow) -> Ownership:
    """What the columns of a run beside its snapshot say.

    Nobody loses a run by it: a claim watches the owner for longer, see `OwnerWatch`.
    """
    record = None if row.start is None else StartRecord.decode(row.start)
    if row.owner_id is None:
        return Ownership(record, None, _LOSSES.get(row.lost))
    owner = row.owner
    if owner is not None and may_live(owner):
        return Ownership(record, describe_process(owner.pid, owner.host))
    is_drained = owner is not None and owner.draining
    return Ownership(record, None, "drained" if is_drained else "killed")


def may_live(owner: SeenOwner) -> bool:
    """Whether an owner probably lives, by one look."""
    if owner.session_open is not None:
        return owner.session_open
    return owner.silent is None or owner.silent <= owner.lease
