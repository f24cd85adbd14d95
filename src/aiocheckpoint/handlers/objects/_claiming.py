"""Claiming runs: a new one by a conditional create, any other one by a conditional replacement."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple, cast

from aiocheckpoint.errors import RunInProgressError
from aiocheckpoint.handlers.leased._claims import in_progress, start_of
from aiocheckpoint.handlers.leased._requests import Claimed, due_column
from aiocheckpoint.handlers.leased._rows import StoredRun
from aiocheckpoint.handlers.objects._beside import has_ending
from aiocheckpoint.handlers.objects._errors import ConditionError
from aiocheckpoint.handlers.objects._index import index_name
from aiocheckpoint.handlers.objects._names import bytes_of, hashed_id
from aiocheckpoint.handlers.objects._reading import read_run
from aiocheckpoint.handlers.objects._run_object import RunHead, RunObject, encode_run
from aiocheckpoint.handlers.objects._session import HeldRun

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from aiocheckpoint._model.start_record import StartRecord
    from aiocheckpoint.handlers.leased._requests import Claim
    from aiocheckpoint.handlers.leased._rows import StartRow
    from aiocheckpoint.handlers.objects._bucket import Version
    from aiocheckpoint.handlers.objects._owners_view import KnownOwner
    from aiocheckpoint.handlers.objects._session import ObjectSession

__all__ = ["Claiming"]

_MOST_CHANGES = 20
"""How often a run may change hands while it is asked for."""


class _Taken(NamedTuple):
    """A run that was read to be taken."""

    found: RunObject
    version: Version


class Claiming:
    """One claim, whose attempts may be repeated: each asks by the same token.

    Args:
        session: The session.
        claim: The claim.

    Attributes:
        is_refused: Whether the last attempt has read that another owner has the run, so that no
            attempt has taken it.
    """

    def __init__(self, session: ObjectSession, claim: Claim) -> None:
        self.is_refused: bool = False
        self._session, self._claim = session, claim
        self._lease = claim.lease
        self._key = session.keys.run(self._lease.key)
        self._lease.owner = session.owner_id
        self._lease.asked_token = next(session.tokens)
        self._now = time.time()
        self._write = f"{session.owner_id}-{session.next_number()}"
        self._new = self._head_of_new()
        self._indexed: set[str] = set()

    async def attempt(self) -> Claimed:
        """Try to take the run.

        Raises:
            RunInProgressError: Another owner has it.
            StorageError: The store cannot be used.
        """
        self.is_refused = False
        await self._session.owners.be_seen()
        # A try that finds a run where a new one was expected has made two requests for nothing. A
        # look before each new run would be one more for all of them.
        is_new = self._claim.first_snapshot is not None and not self._lease.is_likely_stored
        for _ in range(_MOST_CHANGES):
            try:
                taken = None if is_new else await self._find()
                claimed = await (self._create() if taken is None else self._take(taken))
            except ConditionError:  # It was changed meanwhile, perhaps by a try before this one.
                is_new = False
            except RunInProgressError:
                self._drop_indexes("")
                raise
            else:
                self._drop_indexes(self._session.held[self._lease.asked_token].head.listed_as)
                return claimed
        raise in_progress(self._claim, None, self._now)

    def _drop_indexes(self, used: str) -> None:
        """Delete the names that tries have given the run in the index, but the one that is used."""
        session, key = self._session, self._lease.key
        session.drop_later(session.keys.index(key, one) for one in self._indexed - {used})
        self._indexed.clear()

    async def _create(self) -> Claimed:
        """Make the object of a new run, with its first snapshot if there is one."""
        head = self._new
        _, payload, footer = self._claim.first_snapshot or (None, b"", b"")
        content = encode_run(head, footer, payload)
        created = self._session.bucket.create(self._key, content)
        version = await self._stored(created, head.listed_as)
        self._hold(version, head, {})
        return self._claimed(head, footer, len(payload), inserted=bool(footer))

    def _head_of_new(self) -> RunHead:
        head = RunHead(
            write=self._write,
            owner=self._session.owner_id,
            token=self._lease.asked_token,
            since=self._now,
            run_id=hashed_id(bytes_of(self._lease.key[1])),
        )
        if self._claim.first_snapshot is None:
            return head
        header, _, _ = self._claim.first_snapshot
        head = head.with_snapshot(header, due_column(header))
        return head._replace(listed_as=index_name(self._session, self._lease.key, head))

    async def _find(self) -> _Taken | None:
        """Read the run if it can be taken. None for a new one.

        Raises:
            RunInProgressError: It has an owner that is not gone.
        """
        session, lease = self._session, self._lease
        read = await read_run(session.bucket, self._key, lease.location)
        if read is None:
            return None
        found, version = read
        head = found.head
        loss = head.lost
        if head.owner is not None and head.token != lease.asked_token and not self._is_left(head):
            known = await session.owners.find(head.owner)
            if known.is_missing:
                await self._check_unchanged(version)  # Its owner may have closed just now.
                known = session.owners.watch(head.owner)
            if not known.is_gone:
                raise self._refused(known, head)
            loss = known.loss
        if found.payload is None:
            read = await read_run(session.bucket, self._key, lease.location, whole=True)
            if read is None or read[1] != version:
                raise ConditionError
            found = read[0]
        return _Taken(found._replace(head=head._replace(lost=loss)), version)

    async def _check_unchanged(self, version: Version) -> None:
        read = await self._session.bucket.get(self._key, 1)
        if read is None or read.version != version:
            raise ConditionError

    def _is_left(self, head: RunHead) -> bool:
        """Whether this process has the run by a claim whose answer was lost, and no lease of it.

        Its requests follow each other, so no other claim of the run is in progress here.
        """
        return head.owner == self._session.owner_id and head.token not in self._session.held

    def _refused(self, known: KnownOwner, head: RunHead) -> Exception:
        self.is_refused = True
        self._lease.refused_by, self._lease.refused_at = head.owner or "", head.since
        self._lease.is_likely_stored = True
        return in_progress(self._claim, known, head.since)

    async def _take(self, taken: _Taken) -> Claimed:
        found, version = taken
        head, start = found.head, None
        if head.token == self._lease.asked_token:  # A try before this one has taken it.
            await self._index(head.listed_as)
            self._hold(version, head, None)
            start = self._lease.counted
        else:
            head, start = self._head_of_taken(found)
            payload = found.payload or b""
            content = encode_run(head, found.footer, payload)
            replaced = self._session.bucket.replace(self._key, content, version)
            is_moved = head.listed_as != found.head.listed_as
            version = await self._stored(replaced, head.listed_as if is_moved else "")
            if is_moved and found.head.listed_as:
                self._indexed.add(found.head.listed_as)
            self._hold(version, head, None)
            await self._keep(found)
        inserted = self._claim.footer is not None and found.footer == self._claim.footer
        footer = b"" if inserted else found.footer
        claimed = self._claimed(head, footer, found.payload_length, inserted=inserted)
        if inserted or head.status in {None, "finished"}:
            return claimed
        ending, progress = await self._beside(head)
        return claimed._replace(start=start, ending=ending, has_progress=progress and bool(start))

    def _head_of_taken(self, found: RunObject) -> tuple[RunHead, tuple[StartRecord, str] | None]:
        """Give the facts of the run once it is taken, and its start if it is counted."""
        head, lease = found.head, self._lease
        taken = head._replace(
            write=self._write, owner=lease.owner, token=lease.asked_token, since=self._now
        )
        if not self._claim.runs or head.status in {None, "finished"}:
            return taken, None
        starts: list[StartRow] = []
        start = start_of(self._claim, _row(head, found), starts, self._now)
        taken = taken._replace(start=starts[0].start, status=starts[0].status, lost=None)
        if taken.status == "running":  # Lists pass over it by the owner in the name.
            taken = taken._replace(listed_as=index_name(self._session, lease.key, taken))
        return taken, start

    async def _stored(self, storing: Awaitable[Version], index: str) -> Version:
        """Store the run and its new name in the index, if it has one, side by side."""
        if not index:
            return await storing
        version, indexed = await asyncio.gather(storing, self._index(index), return_exceptions=True)
        for outcome in (version, indexed):
            if isinstance(outcome, BaseException):
                raise outcome
        return cast("Version", version)

    async def _index(self, index: str) -> None:
        if index and index not in self._indexed:
            await self._session.bucket.put(self._session.keys.index(self._lease.key, index), b"")
            self._indexed.add(index)

    def _hold(self, version: Version, head: RunHead, progress: Version | None) -> None:
        held = HeldRun(self._lease.key, version, head, progress)
        self._session.held[self._lease.asked_token] = held

    async def _keep(self, found: RunObject) -> None:
        """Keep the newest snapshot, which a killed owner may not have kept."""
        head, keys = found.head, self._session.keys
        if self._lease.keep == 1 or head.status is None or found.payload is None:
            return
        kept = f"{keys.kept(self._lease.key)}/{head.number:012}-{head.sequence:012}"
        try:
            content = encode_run(head, found.footer, found.payload)
            await self._session.bucket.create(kept, content)
        except ConditionError:
            pass

    async def _beside(self, head: RunHead) -> tuple[bool, bool]:
        """Whether the end of the run is asked for, and whether its progress is recorded."""
        session, key = self._session, self._lease.key
        ending, progress = await asyncio.gather(
            has_ending(session.bucket, session.keys, key, head.number),
            session.bucket.get(session.keys.progress(key)),
        )
        held = session.held[self._lease.asked_token]
        held.progress = {} if progress is None else progress.version
        return ending, progress is not None

    def _claimed(
        self, head: RunHead, footer: bytes, payload_length: int, *, inserted: bool
    ) -> Claimed:
        return Claimed(
            row=0,
            token=head.token,
            payload_length=payload_length,
            footer=b"" if inserted else footer,
            inserted=inserted,
        )


def _row(head: RunHead, found: RunObject) -> StoredRun:
    return StoredRun(
        number=0,
        row=0,
        token=head.token,
        owner=head.owner,
        since=head.since,
        payload_length=found.payload_length,
        footer=found.footer,
        status=head.status,
        stopped_by=head.stopped_by,
        run_number=head.number,
        position=head.position,
        sequence=head.sequence,
        lost=head.lost,
        start=head.start,
        has_progress=False,
        ending=False,
    )
