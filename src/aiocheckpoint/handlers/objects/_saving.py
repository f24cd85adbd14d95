"""Storing snapshots under a lease."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiocheckpoint._logging import NOWHERE, log
from aiocheckpoint.errors import LeaseLostError
from aiocheckpoint.handlers._retention import to_prune
from aiocheckpoint.handlers.objects._beside import has_ending
from aiocheckpoint.handlers.objects._errors import ConditionError
from aiocheckpoint.handlers.objects._index import index_name
from aiocheckpoint.handlers.objects._progress import delete_progress, write_progress
from aiocheckpoint.handlers.objects._reading import kept_of, read_run
from aiocheckpoint.handlers.objects._run_object import RunHead, encode_run

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased._requests import Save
    from aiocheckpoint.handlers.objects._session import ObjectSession

__all__ = ["Saving"]


class Saving:
    """The storing of one snapshot, whose attempts may be repeated: each stores the same bytes.

    Args:
        session: The session.
        save: The request.

    Attributes:
        is_stored: Whether the snapshot is stored. Its names and kept snapshots may not be.

    Raises:
        LeaseLostError: The lease is not held.
    """

    def __init__(self, session: ObjectSession, save: Save) -> None:
        held = session.held.get(save.lease.token)
        if held is None:
            raise LeaseLostError(save.lease.location)
        self._session, self._save, self._held = session, save, held
        self._key = session.keys.run(save.lease.key)
        self._old_index = held.head.listed_as
        self._head = self._new_head(held.head)
        self._content = encode_run(self._head, save.footer, save.payload)
        self.is_stored: bool = False
        self._is_indexed = self._head.listed_as == self._old_index

    def _new_head(self, before: RunHead) -> RunHead:
        session, save = self._session, self._save
        write = f"{session.owner_id}-{session.next_number()}"
        head = before.with_snapshot(save.header, save.due)._replace(write=write)
        if head.status == before.status == "running" and head.started_at == before.started_at:
            return head  # Its name in the index is as good, be it by a snapshot or by the claim.
        head = head._replace(start=None, lost=None) if save.header.finished else head
        if save.ends_run:
            head = head._replace(owner=None, token=0)
        return head._replace(listed_as=index_name(session, save.lease.key, head))

    async def attempt(self) -> None:
        """Store the snapshot, and what belongs to it.

        Raises:
            LeaseLostError: Another owner has the run.
            StorageError: It cannot be stored.
        """
        save, session = self._save, self._session
        if save.progress and not self.is_stored:
            await write_progress(session, save.lease, save.progress)
        if self._is_indexed:
            await self._store()
        else:
            await self._store_with_index()
        if save.progress is not None and not save.progress:
            await delete_progress(session, self._held)
        if save.lease.keep != 1:
            await self._keep()
        if save.ends_run:
            await self._settle_ending()
            session.held.pop(save.lease.token, None)

    def leave_rest(self, error: Exception) -> None:
        """Log that something beside the snapshot could not be stored, and release an ended run.

        Lists put a name that is missing, and the next claim keeps a snapshot that was not kept.
        """
        words = "The snapshot of %s is stored, and an object beside it is not. Lists mend that: %s"
        log(logging.WARNING, NOWHERE, words, self._save.lease.location, error)
        if self._save.ends_run:
            self._session.held.pop(self._save.lease.token, None)

    async def _store(self) -> None:
        if self.is_stored:
            return
        held, bucket = self._held, self._session.bucket
        try:
            version = await bucket.replace(self._key, self._content, held.version)
        except ConditionError:
            # Another owner has it, or a try before this one has stored it.
            found = await read_run(bucket, self._key, self._save.lease.location)
            if found is None or found[0].head.write != self._head.write:
                raise LeaseLostError(self._save.lease.location) from None
            version = found[1]
        held.version, held.head = version, self._head
        self.is_stored = True

    async def _store_with_index(self) -> None:
        """Store the run and its new name in the index, side by side."""
        keys, key = self._session.keys, self._save.lease.key
        index = keys.index(key, self._head.listed_as)
        stored, indexed = await asyncio.gather(
            self._store(), self._session.bucket.put(index, b""), return_exceptions=True
        )
        if isinstance(stored, LeaseLostError):
            self._session.drop_later([index])
        for failure in (stored, indexed):
            if isinstance(failure, BaseException):
                raise failure
        self._is_indexed = True
        if self._old_index:
            self._session.drop_later([keys.index(key, self._old_index)])

    async def _keep(self) -> None:
        """Keep the snapshot among the older ones, and delete those that are too many."""
        held, save, bucket = self._held, self._save, self._session.bucket
        folder, header = self._session.keys.kept(save.lease.key), save.header
        if held.kept is None:
            held.kept = await kept_of(bucket, self._session.keys, save.lease.key)
        newest = header.number, header.sequence
        await bucket.put(f"{folder}/{newest[0]:012}-{newest[1]:012}", self._content)
        amended = None if save.amends is None else (save.amends.number, save.amends.sequence)
        older = [one for one in held.kept if one not in {newest, amended}]
        needless = to_prune([newest, *older], header, save.lease.keep)
        deleted = [*needless, amended] if amended is not None else needless
        await bucket.delete([f"{folder}/{one[0]:012}-{one[1]:012}" for one in deleted])
        held.kept = [one for one in (newest, *older) if one not in needless]

    async def _settle_ending(self) -> None:
        """Delete the request to terminate a run that it ends, or note it if it holds still."""
        save, session = self._save, self._session
        key = save.lease.key
        if save.clears_ending:
            if save.lease.ending or not save.header.finished:
                await session.bucket.delete([session.keys.ending(key)])
        elif save.may_leave_ending and await has_ending(
            session.bucket, session.keys, key, save.header.number
        ):
            save.lease.ending = True
