"""The record of the progress of a run, which has an object of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint.errors import LeaseLostError
from aiocheckpoint.handlers.objects._errors import ConditionError
from aiocheckpoint.handlers.objects._reading import read_run

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased._requests import LeaseRecord
    from aiocheckpoint.handlers.objects._session import HeldRun, ObjectSession

__all__ = ["delete_progress", "has_lease", "write_progress"]


async def has_lease(session: ObjectSession, lease: LeaseRecord) -> bool:
    """Whether the object of a run has the lease: the fence of the objects beside it.

    Raises:
        StorageError: It cannot be read.
    """
    if lease.token not in session.held:
        return False
    read = await read_run(session.bucket, session.keys.run(lease.key), lease.location)
    return read is not None and read[0].head.token == lease.token


async def write_progress(session: ObjectSession, lease: LeaseRecord, record: bytes) -> None:
    """Store the record of the progress of a run that is held, or delete it if it is empty.

    Raises:
        LeaseLostError: The lease was lost.
        StorageError: It cannot be stored.
    """
    name, bucket = session.keys.progress(lease.key), session.bucket
    while True:
        if not await has_lease(session, lease):
            raise LeaseLostError(lease.location)
        held = session.held[lease.token]
        if not record:
            await delete_progress(session, held)
            return
        if held.progress is None:
            found = await bucket.get(name)
            held.progress = {} if found is None else found.version
        try:
            held.progress = await bucket.replace(name, record, held.progress)
        except ConditionError:
            held.progress = None
        else:
            return


async def delete_progress(session: ObjectSession, held: HeldRun) -> None:
    """Delete the record of the progress of a run that is held, if there may be one.

    Raises:
        StorageError: It cannot be deleted.
    """
    if held.progress != {}:
        await session.bucket.delete([session.keys.progress(held.key)])
        held.progress = {}
