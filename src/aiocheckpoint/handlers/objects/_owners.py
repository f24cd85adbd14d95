"""The owners of runs in a bucket: one object for each process, which it rewrites as a heartbeat.

Others list these objects. An owner whose object keeps its ETag for a whole lease is gone, see
`OwnerWatch`. The process that finds it gone leaves a mark, and deletes the object. An owner that
has closed has neither.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._files.processes import boot_id
from aiocheckpoint.handlers._files.watch import HEARTBEATS_PER_LEASE
from aiocheckpoint.handlers.leased._owner_watch import OwnerWatch
from aiocheckpoint.handlers.leased._rows import OwnedRow, SeenOwner
from aiocheckpoint.handlers.objects._errors import ConditionError

if TYPE_CHECKING:
    from aiocheckpoint._model.start_record import Loss
    from aiocheckpoint.handlers.leased._clock import Clock
    from aiocheckpoint.handlers.objects._bucket import Bucket, Listed, Version
    from aiocheckpoint.handlers.objects._names import Keys
    from aiocheckpoint.handlers.objects._run_object import RunHead

__all__ = ["KnownOwner", "Owners", "OwnersView", "owned_row"]

_LOSSES: tuple[Loss, ...] = ("killed", "drained")
_DRAINING = "draining"
_LOOKS_PER_LEASE = 20
_SECONDS_OF_TIMES = 1.0
"""Stores give the times of objects in whole seconds."""
_SECONDS_OF_MARKS = 30 * 86400.0
"""Marks are deleted then. An owner without a mark is taken for one that has closed."""


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
        return None if self.seen is None else self.seen.pid

    @property
    def host(self) -> str | None:
        """The name of its machine."""
        return None if self.seen is None else self.seen.host

    @property
    def end_is_seen(self) -> bool:
        """False: others see nothing but its silence."""
        return False

    @property
    def is_gone(self) -> bool:
        """Whether its runs are free."""
        return self.seen is None or self.loss is not None


class OwnersView:
    """The objects of owners, as they are listed.

    Args:
        bucket: The bucket.
        keys: Its keys.

    Attributes:
        old_marks: Keys of marks that the last list has found to be old.
    """

    def __init__(self, bucket: Bucket, keys: Keys) -> None:
        self._bucket, self._keys = bucket, keys
        self._facts: dict[str, SeenOwner] = {}
        self.old_marks: list[str] = []

    async def all(self) -> dict[str, KnownOwner]:
        """List all owners and those that were found gone."""
        names: dict[str, Listed] = {}
        marks: dict[str, dict[str, Listed]] = {}
        self.old_marks = []
        for one in await self._bucket.listed(self._keys.owners):
            owner_id, _, mark = one.name.partition(".")
            if mark:
                marks.setdefault(owner_id, {})[mark] = one
                if _age(one) > _SECONDS_OF_MARKS:
                    self.old_marks.append(f"{self._keys.owners}/{one.name}")
            else:
                names[owner_id] = one
        await asyncio.gather(*(self._learn(one) for one in names if one not in self._facts))
        self._facts = {one: facts for one, facts in self._facts.items() if one in names}
        return {one: self._known(one, names.get(one), marks.get(one, {})) for one in names | marks}

    async def read(self, owner_id: str) -> KnownOwner:
        """Read one owner."""
        await self._learn(owner_id)
        seen = self._facts.get(owner_id)
        return KnownOwner(seen, None, None if seen is None else seen.lease)

    async def _learn(self, owner_id: str) -> None:
        """Read what stays the same of an owner."""
        found = await self._bucket.get(self._keys.owner(owner_id))
        with suppress(ValueError, TypeError, KeyError):
            facts: dict[str, Any] = {} if found is None else json.loads(found.content)
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

    def _known(self, owner_id: str, listed: Listed | None, marks: dict[str, Listed]) -> KnownOwner:
        loss: Loss | None = next((one for one in _LOSSES if one in marks), None)
        facts = None if listed is None else self._facts.get(owner_id)
        if facts is None or listed is None:
            return KnownOwner(None, loss)
        silent = _age(listed) - _SECONDS_OF_TIMES
        beat = int.from_bytes(blake2b(listed.e_tag.encode(), digest_size=8).digest())
        seen = facts._replace(beat=beat, draining=_DRAINING in marks, silent=silent)
        return KnownOwner(seen, loss, facts.lease)


class Owners:
    """This process among the owners, and its looks at the others.

    Args:
        bucket: The bucket.
        keys: Its keys.
        owner_id: Id of this owner.
        lease: Length of its lease in seconds.
        clock: Tells the time.
    """

    def __init__(
        self, bucket: Bucket, keys: Keys, owner_id: str, lease: float, clock: Clock = time
    ) -> None:
        self.view: OwnersView = OwnersView(bucket, keys)
        self._bucket, self._keys = bucket, keys
        self._owner_id, self._lease, self._clock = owner_id, lease, clock
        self._key = keys.owner(owner_id)
        self._since = datetime.fromtimestamp(clock.time(), UTC).isoformat(timespec="seconds")
        self._beats = itertools.count(1)
        self._version: Version = {}
        self._beaten_at = self._looked_at = -float("inf")
        self._beating, self._looking = asyncio.Lock(), asyncio.Lock()
        self._watch = OwnerWatch(clock)
        self._known: dict[str, KnownOwner] = {}

    @property
    def seconds_to_heartbeat(self) -> float:
        """Seconds until the next heartbeat is due."""
        return self._beaten_at + self._lease / HEARTBEATS_PER_LEASE - self._clock.monotonic()

    async def beat(self) -> None:
        """Store a heartbeat.

        Raises:
            StorageError: It cannot be stored.
        """
        async with self._beating:
            await self._beat()

    async def be_seen(self) -> None:
        """Make sure that others see this owner alive, before something is taken in its name.

        Raises:
            StorageError: A heartbeat is due for long, and cannot be stored.
        """
        if self.seconds_to_heartbeat < -self._lease / HEARTBEATS_PER_LEASE:
            async with self._beating:
                if self.seconds_to_heartbeat < -self._lease / HEARTBEATS_PER_LEASE:
                    await self._beat()

    async def _beat(self) -> None:
        asked_at = self._clock.monotonic()
        facts = {
            "id": self._owner_id,
            "host": socket.gethostname(),
            "boot": boot_id(),
            "pid": os.getpid(),
            "since": self._since,
            "beat": next(self._beats),
            "lease": self._lease,
        }
        content = json.dumps(facts).encode()
        try:
            self._version = await self._bucket.replace(
                self._key, content, self._version, waits=False
            )
        except ConditionError:
            await self._beat_anew(content)
        self._beaten_at = asked_at

    async def _beat_anew(self, content: bytes) -> None:
        """Store a heartbeat behind one without an answer, or where others have deleted this one."""
        found = await self._bucket.get(self._key)
        self._version = {} if found is None else found.version
        try:
            self._version = await self._bucket.replace(
                self._key, content, self._version, waits=False
            )
        except ConditionError:  # Another process deletes it just now. The next beat is another try.
            self._version = {}
            raise StorageError(
                self._key, f"{self._key} is changed by another program. Run again."
            ) from None
        if found is None:
            marks = [self._keys.owner(self._owner_id, mark) for mark in _LOSSES]
            await self._bucket.delete(marks)

    async def find(self, owner_id: str) -> KnownOwner:
        """Look at the owner of a run that is asked for.

        Raises:
            StorageError: The store is out of reach.
        """
        if owner_id == self._owner_id:
            return KnownOwner(self._own(), None, None)
        await self.look()
        known = self._known.get(owner_id)
        if known is None:  # It has closed, or is newer than the list.
            known = await self.view.read(owner_id)
        return known

    async def look(self) -> dict[str, KnownOwner]:
        """Look at all owners, and mark those that are gone. Give all.

        Raises:
            StorageError: The store is out of reach.
        """
        async with self._looking:
            now = self._clock.monotonic()
            if now - self._looked_at >= min(self._lease / _LOOKS_PER_LEASE, 1.0):
                await self._look(now)
        return self._known

    async def _look(self, asked_at: float) -> None:
        try:
            listed = await self.view.all()
            lefts = {
                one: self._left(known.seen, asked_at)
                for one, known in listed.items()
                if known.seen is not None and not known.is_gone and one != self._owner_id
            }
            await self.beat()  # A look counts only if the others could have beaten as well.
        except BaseException:
            self._watch.interrupted()
            raise
        self._watch.committed()
        self._watch.forget_all_but(lefts.keys())
        gone = [one for one, left in lefts.items() if left is None]
        losses = dict(
            zip(
                gone,
                await asyncio.gather(*(self._mark(one, listed[one]) for one in gone)),
                strict=True,
            )
        )
        self._known = {
            one: known._replace(
                loss=losses.get(one, known.loss), lease_left=lefts.get(one, known.lease_left)
            )
            for one, known in listed.items()
        }
        self._looked_at = asked_at

    def _left(self, seen: SeenOwner, asked_at: float) -> float | None:
        return self._watch.look(seen, seconds_up=float("inf"), asked_at=asked_at)

    async def _mark(self, owner_id: str, known: KnownOwner) -> Loss:
        """Mark an owner as gone."""
        is_draining = known.seen is not None and known.seen.draining
        loss: Loss = "drained" if is_draining else "killed"
        await self._bucket.put(self._keys.owner(owner_id, loss), b"")
        names = (self._keys.owner(owner_id), self._keys.owner(owner_id, _DRAINING))
        await self._bucket.delete(names)
        return loss

    async def note_draining(self) -> None:
        """Mark this owner as one that drains."""
        await self._bucket.put(self._keys.owner(self._owner_id, _DRAINING), b"")

    async def close(self) -> None:
        """Delete this owner, behind the release of its runs."""
        marks = ("", _DRAINING, *_LOSSES)
        await self._bucket.delete([self._keys.owner(self._owner_id, mark) for mark in marks])
        self._version = {}

    def _own(self) -> SeenOwner:
        return SeenOwner(
            self._owner_id,
            socket.gethostname(),
            boot_id(),
            os.getpid(),
            self._since,
            0,
            self._lease,
            None,
            None,
            draining=False,
        )


def owned_row(head: RunHead, owners: dict[str, KnownOwner]) -> OwnedRow:
    """Give the columns of a run beside its snapshot, as far as one look at the owners tells."""
    if head.owner is None:
        return OwnedRow(None, None, head.start, head.lost)
    known = owners.get(head.owner)
    if known is None or known.loss is not None:
        loss = head.lost if known is None else known.loss
        return OwnedRow(None, None, head.start, loss)
    return OwnedRow(head.owner, known.seen, head.start, head.lost)


def _age(listed: Listed) -> float:
    """Seconds since an object was stored, by the clocks of store and process: a hint alone."""
    return (datetime.now(UTC) - listed.changed_at).total_seconds()
