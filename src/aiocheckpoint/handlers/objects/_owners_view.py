"""What the objects of owners say, as they are listed."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint.handlers._leases import LEASE_SECONDS
from aiocheckpoint.handlers.leased._rows import OwnedRow, SeenOwner

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiocheckpoint._model.start_record import Loss
    from aiocheckpoint.handlers.objects._bucket import Bucket, Listed
    from aiocheckpoint.handlers.objects._names import Keys
    from aiocheckpoint.handlers.objects._run_object import RunHead

__all__ = ["DRAINING", "LOSSES", "KnownOwner", "OwnersView", "owned_row", "unknown_owner"]

LOSSES: tuple[Loss, ...] = ("killed", "drained")
"""The marks of owners that are gone."""
DRAINING = "draining"
"""The mark of an owner that has begun to drain."""
_SECONDS_OF_TIMES = 1.0
"""Stores give the times of objects in whole seconds."""
_SECONDS_OF_MARKS = 30 * 86400.0
"""Marks may be deleted then. A run of such an owner is free a lease after it is asked for."""


class KnownOwner(NamedTuple):
    """What is known of an owner.

    Attributes:
        seen: Its object, or None where it has none.
        loss: What became of it, if it was marked as gone.
        lease_left: Seconds after which it may be found gone. None for one that is gone.
    """

    seen: SeenOwner | None
    loss: Loss | None = None
    lease_left: float | None = None

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return None if self.seen is None else self.seen.pid or None

    @property
    def host(self) -> str | None:
        """The name of its machine."""
        return None if self.seen is None else self.seen.host or None

    @property
    def end_is_seen(self) -> bool:
        """False: others see nothing but its silence."""
        return False

    @property
    def is_gone(self) -> bool:
        """Whether its runs are free."""
        return self.loss is not None

    @property
    def may_be_gone(self) -> bool:
        """Whether a list shows its runs as free: a claim finds out whether they are."""
        return self.seen is None or self.is_gone

    @property
    def is_missing(self) -> bool:
        """Whether it has neither an object nor a mark that it is gone."""
        return self.seen is None and self.loss is None


class OwnersView:
    """The objects of owners, as they are listed.

    Args:
        bucket: The bucket.
        keys: Its keys.

    Attributes:
        old_marks: Keys of marks that the last list has found to be old, by the clock of the store.
    """

    def __init__(self, bucket: Bucket, keys: Keys) -> None:
        self._bucket, self._keys = bucket, keys
        self._facts: dict[str, SeenOwner] = {}
        self.old_marks: list[str] = []

    async def all(self) -> dict[str, KnownOwner]:
        """List all owners and those that were found gone."""
        names: dict[str, Listed] = {}
        marks: dict[str, dict[str, Listed]] = {}
        listed = await self._bucket.listed(self._keys.owners)
        for one in listed:
            owner_id, _, mark = one.name.partition(".")
            if mark:
                marks.setdefault(owner_id, {})[mark] = one
            else:
                names[owner_id] = one
        self._note_old_marks(listed, names)
        await asyncio.gather(*(self._learn(one) for one in names if one not in self._facts))
        self._facts = {one: facts for one, facts in self._facts.items() if one in names}
        return {one: self._known(one, names.get(one), marks.get(one, {})) for one in names | marks}

    async def read(self, owner_id: str) -> KnownOwner:
        """Read one owner, which is not in the last list."""
        await self._learn(owner_id)
        seen = self._facts.get(owner_id)
        return KnownOwner(seen, None, None if seen is None else seen.lease)

    def _note_old_marks(self, listed: list[Listed], owners: Collection[str]) -> None:
        marks = [one for one in listed if one.name.partition(".")[0] not in owners]
        newest = max((one.changed_at for one in listed), default=datetime.now(UTC))
        self.old_marks = [
            f"{self._keys.owners}/{one.name}"
            for one in marks
            if (newest - one.changed_at).total_seconds() > _SECONDS_OF_MARKS
        ]

    async def _learn(self, owner_id: str) -> None:
        """Read what stays the same of an owner."""
        found = await self._bucket.get(self._keys.owner(owner_id))
        if found is None:
            self._facts.pop(owner_id, None)
            return
        try:
            facts: dict[str, Any] = json.loads(found.content)
            self._facts[owner_id] = SeenOwner(
                id=owner_id,
                host=facts["host"],
                boot=facts["boot"],
                pid=facts["pid"],
                since=facts["since"],
                beat=0,
                lease=facts["lease"],
                session=None,
                session_open=None,
                draining=False,
            )
        except (ValueError, TypeError, KeyError):  # Another program has changed it.
            self._facts[owner_id] = unknown_owner(owner_id, LEASE_SECONDS)

    def _known(self, owner_id: str, listed: Listed | None, marks: dict[str, Listed]) -> KnownOwner:
        loss: Loss | None = next((one for one in LOSSES if one in marks), None)
        facts = None if listed is None else self._facts.get(owner_id)
        if facts is None or listed is None:
            return KnownOwner(None, loss)
        silent = _age(listed) - _SECONDS_OF_TIMES
        beat = int.from_bytes(blake2b(listed.e_tag.encode(), digest_size=8).digest())
        seen = facts._replace(beat=beat, draining=DRAINING in marks, silent=silent)
        return KnownOwner(seen, loss, facts.lease)


def unknown_owner(owner_id: str, lease: float, *, draining: bool = False) -> SeenOwner:
    """Give the facts of an owner of which its id alone is known. It has a lease to beat."""
    return SeenOwner(owner_id, "", "", 0, "", 0, lease, None, None, draining=draining)


def owned_row(head: RunHead, owners: dict[str, KnownOwner]) -> OwnedRow:
    """Give the columns of a run beside its snapshot, as far as one look at the owners tells."""
    if head.owner is None:
        return OwnedRow(None, None, head.start, head.lost)
    known = owners.get(head.owner)
    if known is None or known.may_be_gone:
        loss = head.lost if known is None else known.loss or head.lost
        return OwnedRow(None, None, head.start, loss)
    return OwnedRow(head.owner, known.seen, head.start, head.lost)


def _age(listed: Listed) -> float:
    """Seconds since an object was stored, by the clocks of store and process: a hint alone."""
    return (datetime.now(UTC) - listed.changed_at).total_seconds()
