"""Giving leases back under which nothing more is stored."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from aiocheckpoint.handlers.objects._errors import ConditionError
from aiocheckpoint.handlers.objects._index import index_name
from aiocheckpoint.handlers.objects._reading import read_run
from aiocheckpoint.handlers.objects._run_object import RunHead, encode_run

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased._requests import Key, Release
    from aiocheckpoint.handlers.objects._session import ObjectSession

__all__ = ["release"]


async def release(session: ObjectSession, request: Release) -> None:
    """Release a lease under which nothing more is stored. Without effect if it is not held.

    Raises:
        StorageError: The store cannot be used.
    """
    key: Key = request.flow, request.run_id
    name = session.keys.run(key)
    read = await read_run(session.bucket, name, name, whole=True)
    if read is None or read[0].head.token != request.token:
        session.held.pop(request.token, None)
        return
    found, version = read
    if found.head.status is None:
        # Nothing is stored of it. Deletes have no condition, so the lease is renewed before.
        await session.owners.be_seen()
        await session.bucket.delete([name])
    else:
        head = _released(session, key, found.head, request)
        with suppress(ConditionError):
            content = encode_run(head, found.footer, found.payload or b"")
            await session.bucket.replace(name, content, version)
            await _move_index(session, key, found.head.listed_as, head.listed_as)
    session.held.pop(request.token, None)


def _released(session: ObjectSession, key: Key, head: RunHead, request: Release) -> RunHead:
    write = f"{session.owner_id}-{session.next_number()}"
    freed = head._replace(write=write, owner=None, token=0)
    if request.before is not None:
        status, start = request.before
        freed = freed._replace(status=status, start=start)
    elif freed.status != "running":
        return freed
    return freed._replace(listed_as=index_name(session, key, freed))


async def _move_index(session: ObjectSession, key: Key, before: str, now: str) -> None:
    if before != now:
        await session.bucket.put(session.keys.index(key, now), b"")
        session.drop_later([session.keys.index(key, before)])
