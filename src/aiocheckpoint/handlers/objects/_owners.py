"""The owners of runs in a bucket: one object for each process, which it rewrites as a heartbeat.

Others list these objects. An owner whose object keeps its ETag for a whole lease is gone, see
`OwnerWatch`. The process that finds it gone leaves a mark, and deletes the object.

An owner that has closed has neither, and no runs. An owner of runs that has neither may live: its
object was deleted by hand, and its next heartbeat makes it anew. It has a lease to do so.
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
from typing import TYPE_CHECKING

from aiocheckpoint.errors import CheckpointError, StorageError
from aiocheckpoint.handlers._files.processes import boot_id
from aiocheckpoint.handlers._files.watch import HEARTBEATS_PER_LEASE
from aiocheckpoint.handlers.leased._owner_watch import OwnerWatch
from aiocheckpoint.handlers.leased._rows import SeenOwner
from aiocheckpoint.handlers.objects._errors import ConditionError
from aiocheckpoint.handlers.objects._owners_view import (
    DRAINING,
    LOSSES,
    KnownOwner,
    OwnersView,
    unknown_owner,
)

if TYPE_CHECKING:
    from aiocheckpoint._model.start_record import Loss
    from aiocheckpoint.handlers.leased._clock import Clock
    from aiocheckpoint.handlers.objects._bucket import Bucket, Version
    from aiocheckpoint.handlers.objects._names import Keys

__all__ = ["Owners"]

_LOOKS_PER_LEASE = 20


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
        self._missing = set[str]()  # See `watch`.
        self._unbroken_since = float("inf")

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

    def has_lived_since(self, begun_at: float) -> bool:
        """Whether nobody can have taken this owner for gone since a time, by its own beats."""
        silent = self._clock.monotonic() - self._beaten_at
        return self._unbroken_since <= begun_at and silent < self._lease / 2

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
        self._note_beat(asked_at)

    def _note_beat(self, asked_at: float) -> None:
        """Note a heartbeat. Behind a gap, others may take this owner for gone for a while."""
        answered_at = self._clock.monotonic()
        if self._beaten_at == -float("inf"):
            self._unbroken_since = asked_at
        elif answered_at - self._beaten_at >= self._lease:
            self._unbroken_since = answered_at + self._lease
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
            self._unbroken_since = self._clock.monotonic() + self._lease
            marks = [self._keys.owner(self._owner_id, mark) for mark in LOSSES]
            await self._bucket.delete(marks)

    async def find(self, owner_id: str) -> KnownOwner:
        """Look at the owner of a run that is asked for. One that has closed is missing.

        Raises:
            StorageError: The store is out of reach.
        """
        if owner_id == self._owner_id:
            return KnownOwner(self._own(), None, None)
        await self.look()
        known = self._known.get(owner_id)
        if known is None or known.is_missing:  # It may be newer than the list.
            known = await self.view.read(owner_id)
        return known

    def watch(self, owner_id: str) -> KnownOwner:
        """Watch a missing owner, which still has a run. It may live, and has a lease to beat."""
        self._missing.add(owner_id)
        return KnownOwner(None, None, self._lease)

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
            listed = self._with_missing(await self.view.all())
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
        with suppress(CheckpointError):
            await self._bucket.delete(self.view.old_marks)

    def _with_missing(self, listed: dict[str, KnownOwner]) -> dict[str, KnownOwner]:
        """Add the owners that are watched though they are missing, and forget those that are not.

        Such an owner may have a mark that it drains.
        """
        unseen = {one for one, known in listed.items() if known.is_missing}
        self._missing -= listed.keys() - unseen
        unknown = {
            one: unknown_owner(one, self._lease, draining=one in unseen) for one in self._missing
        }
        return listed | {one: KnownOwner(seen) for one, seen in unknown.items()}

    def _left(self, seen: SeenOwner, asked_at: float) -> float | None:
        return self._watch.look(seen, seconds_up=float("inf"), asked_at=asked_at)

    async def _mark(self, owner_id: str, known: KnownOwner) -> Loss:
        """Mark an owner as gone."""
        is_draining = known.seen is not None and known.seen.draining
        loss: Loss = "drained" if is_draining else "killed"
        await self._bucket.put(self._keys.owner(owner_id, loss), b"")
        names = (self._keys.owner(owner_id), self._keys.owner(owner_id, DRAINING))
        await self._bucket.delete(names)
        return loss

    async def note_draining(self) -> None:
        """Mark this owner as one that drains."""
        await self._bucket.put(self._keys.owner(self._owner_id, DRAINING), b"")

    async def close(self) -> None:
        """Delete this owner, behind the release of its runs."""
        marks = ("", DRAINING, *LOSSES)
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
