"""Deleting many runs: each is claimed by a write of its own, and a few requests delete all.

A claim empties the object of a run as well, so that one conditional write decides whether the run
is still the one that is to be deleted, and nobody else's. Deletes have no condition. They are sent
only while this process has beaten without a break since before the first claim, so that nobody can
have taken it for gone. Otherwise each run is released alone, which reads it once more.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint.errors import CorruptSnapshotError, StoreUnreachableError
from aiocheckpoint.handlers.leased._requests import Release
from aiocheckpoint.handlers.leased._rows import OwnedRow, RunRow
from aiocheckpoint.handlers.objects._errors import ConditionError
from aiocheckpoint.handlers.objects._names import bytes_of
from aiocheckpoint.handlers.objects._reading import has_kept, kept_of, read_run
from aiocheckpoint.handlers.objects._run_object import encode_run
from aiocheckpoint.handlers.objects._session import HeldRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from aiocheckpoint.handlers.leased._requests import Key
    from aiocheckpoint.handlers.objects._bucket import Version
    from aiocheckpoint.handlers.objects._run_object import RunHead, RunObject
    from aiocheckpoint.handlers.objects._session import ObjectSession

__all__ = ["Pruning"]

_TRIES = 2


class _Asked(NamedTuple):
    """A run that may have been claimed and emptied.

    Attributes:
        key: The run.
        listed_as: Its name in the index before.
        is_done: Whether the answer has come.
    """

    key: Key
    listed_as: str
    is_done: bool = False


class Pruning:
    """The deletion of some runs, whose attempts may be repeated.

    Args:
        keys: The runs.
        wants: Whether a run is to be deleted, by its present row.

    Attributes:
        count: How many were deleted.
    """

    def __init__(self, keys: Sequence[Key], wants: Callable[[RunRow], bool]) -> None:
        self._keys, self._wants = keys, wants
        self._asked: dict[int, _Asked] = {}
        self._looked_at: set[Key] = set()
        self._begun_at = float("inf")
        self.count: int = 0

    def left(self) -> Iterator[Release]:
        """Give the releases of the runs that may be claimed still, each of which deletes one."""
        return (Release(*asked.key, token) for token, asked in self._asked.items())

    async def attempt(self, session: ObjectSession) -> None:
        """Claim the runs, and delete them.

        Raises:
            StorageError: The store cannot be used.
        """
        await session.owners.be_seen()
        self._begun_at = min(self._begun_at, time.monotonic())
        outcomes = await asyncio.gather(
            *(self._claim(session, key) for key in self._keys if key not in self._looked_at),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        claimed = [one for one in self._asked.values() if one.is_done]
        self.count = len(claimed)
        await self._delete_beside(session, claimed)
        await session.owners.be_seen()
        if session.owners.has_lived_since(self._begun_at):
            await self._delete(session)

    async def _delete(self, session: ObjectSession) -> None:
        """Delete the objects of the runs. Those that may be there still are released one by one."""
        done = {token: one for token, one in self._asked.items() if one.is_done}
        try:
            await session.bucket.delete([session.keys.run(one.key) for one in done.values()])
        except StoreUnreachableError:
            return  # If it is repeated, another process may have a new run there by now.
        for token in done:
            session.held.pop(token, None)
            del self._asked[token]

    async def _claim(self, session: ObjectSession, key: Key) -> None:
        """Take a run if it is still to be deleted, and empty it."""
        async with session.turn(key):
            for _ in range(_TRIES):
                if await self._is_settled(session, key):
                    break
            self._looked_at.add(key)

    async def _is_settled(self, session: ObjectSession, key: Key) -> bool:
        """Try to take a run. Whether it was taken, or is not to be taken."""
        name = session.keys.run(key)
        try:
            read = await read_run(session.bucket, name, name)
        except CorruptSnapshotError:
            return True
        if read is None:
            return True
        found, version = read
        token = found.head.token
        if token in self._asked:  # The answer to a try before this one was lost.
            self._hold(session, token, found.head, version)
            return True
        if not await self._is_chosen(session, key, found):
            return True
        token = next(session.tokens)
        write = f"{session.owner_id}-{session.next_number()}"
        head = found.head._replace(owner=session.owner_id, token=token, since=time.time())
        self._asked[token] = _Asked(key, head.listed_as)
        try:
            emptied = head.emptied(write)
            version = await session.bucket.replace(name, encode_run(emptied, b"", b""), version)
        except ConditionError:  # Where a try before this one has stored it, the next read tells.
            return False
        self._hold(session, token, emptied, version)
        return True

    def _hold(self, session: ObjectSession, token: int, head: RunHead, version: Version) -> None:
        asked = self._asked[token] = self._asked[token]._replace(is_done=True)
        session.held[token] = HeldRun(asked.key, version, head, {}, [])

    async def _is_chosen(self, session: ObjectSession, key: Key, found: RunObject) -> bool:
        """Whether a run is to be deleted: nobody has it, and it is what is asked for."""
        head, loss = found.head, found.head.lost
        if head.status is None:
            return False
        if head.owner is not None:
            known = await session.owners.find(head.owner)
            if known.is_missing:
                session.owners.watch(head.owner)
            if not known.is_gone:
                return False
            loss = known.loss
        owned = OwnedRow(None, None, head.start, loss)
        row = RunRow(bytes_of(key[1]), head.started_at, found.footer, found.payload_length, owned)
        return self._wants(row)

    async def _delete_beside(self, session: ObjectSession, claimed: Iterable[_Asked]) -> None:
        """Delete what belongs to the runs beside their objects, by as few requests as can be."""
        keys, names = session.keys, session.take_garbage()  # Earlier names of runs among it.
        for asked in claimed:
            names += [keys.progress(asked.key), keys.ending(asked.key)]
            names += [keys.index(asked.key, asked.listed_as)] if asked.listed_as else []
        if names and await has_kept(session.bucket, keys, self._keys[0][0]):
            of_runs = await asyncio.gather(*(self._kept(session, one.key) for one in claimed))
            names += [name for some in of_runs for name in some]
        await session.bucket.delete(names)

    async def _kept(self, session: ObjectSession, key: Key) -> list[str]:
        folder = session.keys.kept(key)
        found = await kept_of(session.bucket, session.keys, key)
        return [f"{folder}/{number:012}-{sequence:012}" for number, sequence in found]
