"""The statements of a bucket, as coroutines: what functions of an `Execute` call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiocheckpoint._model.statuses import ENDED
from aiocheckpoint.handlers.objects._beside import Ending
from aiocheckpoint.handlers.objects._errors import ConditionError
from aiocheckpoint.handlers.objects._index import index_name
from aiocheckpoint.handlers.objects._names import bytes_of, hashed_id
from aiocheckpoint.handlers.objects._progress import has_lease, write_progress
from aiocheckpoint.handlers.objects._reading import kept_of, read_run
from aiocheckpoint.handlers.objects._run_object import RunHead, encode_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint.handlers.leased._requests import Key, LeaseRecord
    from aiocheckpoint.handlers.leased._rows import QueuedColumns, QueuedRow
    from aiocheckpoint.handlers.objects._pruning import Pruning
    from aiocheckpoint.handlers.objects._session import ObjectSession

__all__ = ["ObjectStatements"]


class ObjectStatements:
    """What is done to runs beside claims, snapshots and releases. Each may be repeated.

    Args:
        session: The session.
    """

    def __init__(self, session: ObjectSession) -> None:
        self._session = session
        self._bucket, self._keys = session.bucket, session.keys

    async def write_progress(self, records: Sequence[tuple[LeaseRecord, bytes]]) -> None:
        """See `WritingStatements`."""
        for lease, record in records:
            async with self._session.turn(lease.key):
                await write_progress(self._session, lease, record)

    async def prune(self, pruning: Pruning) -> None:
        """Delete some runs, see `Pruning`."""
        await pruning.attempt(self._session)

    async def write_ending(self, key: Key, request: str) -> None:
        """See `WritingStatements`."""
        head = await self._head(key)
        if head is None or head.status in {None, *ENDED}:
            return
        content = Ending(head.number, bytes_of(key[1]).hex(), request).encode()
        name = self._keys.ending(key)
        while True:
            found = await self._bucket.get(name)
            ending = None if found is None else Ending.decode(found.content)
            if ending is not None and ending.number == head.number:
                break  # The first request stays.
            try:
                await self._bucket.replace(name, content, {} if found is None else found.version)
            except ConditionError:
                continue
        now = await self._head(key)
        if now is None or now.status in {None, *ENDED} or now.number != head.number:
            await self._bucket.delete([name])  # It has ended meanwhile.

    async def clear_ending(self, lease: LeaseRecord) -> None:
        """See `WritingStatements`."""
        if await has_lease(self._session, lease):
            await self._bucket.delete([self._keys.ending(lease.key)])

    async def delete(self, lease: LeaseRecord) -> bool:
        """See `WritingStatements`."""
        async with self._session.turn(lease.key):
            held = self._session.held.get(lease.token)
            if held is None:
                return False
            name = self._keys.run(lease.key)
            session = self._session
            write = f"{session.owner_id}-{session.next_number()}"
            head = held.head.emptied(write)
            try:
                content = encode_run(head, b"", b"")
                version = await self._bucket.replace(name, content, held.version)
            except ConditionError:
                read = await read_run(self._bucket, name, lease.location)
                if read is None or read[0].head.token != lease.token or read[0].head.status:
                    return False
                version = read[1]  # A try before this one has emptied it.
            index, held.version, held.head = held.head.listed_as, version, head
            await self._delete_beside(lease.key, index)
            held.kept, held.progress = [], {}
            return True

    async def _delete_beside(self, key: Key, index: str) -> None:
        keys = self._keys
        folder = keys.kept(key)
        kept = [
            f"{folder}/{number:012}-{sequence:012}"
            for number, sequence in await kept_of(self._bucket, keys, key)
        ]
        garbage = self._session.take_garbage()  # Earlier names of the run among it.
        names = [*kept, *garbage, keys.progress(key), keys.ending(key)]
        if index:
            names.append(keys.index(key, index))
        await self._bucket.delete(names)

    async def insert_queued(self, common: QueuedColumns, rows: Sequence[QueuedRow]) -> set[int]:
        """See `WritingStatements`."""
        inserted = await asyncio.gather(*(self._insert(common, row) for row in rows))
        return {number for number, is_inserted in enumerate(inserted) if not is_inserted}

    async def _insert(self, common: QueuedColumns, row: QueuedRow) -> bool:
        session, key = self._session, (common.flow, row.run_id)
        head = RunHead(
            write=f"{session.owner_id}-{session.next_number()}",
            since=row.written_at,
            status=common.status,
            number=common.number,
            position=common.position,
            sequence=common.sequence,
            started_at=row.written_at,
            due=common.due,
            run_id=hashed_id(bytes_of(row.run_id)),
        )
        head = head._replace(listed_as=index_name(session, key, head))
        index, name = self._keys.index(key, head.listed_as), self._keys.run(key)
        content = encode_run(head, row.footer, row.payload)
        created, indexed = await asyncio.gather(
            self._bucket.create(name, content),
            self._bucket.put(index, b""),
            return_exceptions=True,
        )
        if isinstance(created, ConditionError):
            session.drop_later([index])
            read = await read_run(self._bucket, name, name)
            return read is not None and read[0].footer == row.footer
        for failure in (created, indexed):
            if isinstance(failure, BaseException):
                raise failure
        return True

    async def _head(self, key: Key) -> RunHead | None:
        name = self._keys.run(key)
        read = await read_run(self._bucket, name, name)
        return None if read is None else read[0].head
