"""Reading the objects of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint.errors import CorruptSnapshotError
from aiocheckpoint.handlers.objects._run_object import FIRST_BYTES, RunObject

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased._requests import Key
    from aiocheckpoint.handlers.objects._bucket import Bucket, Version
    from aiocheckpoint.handlers.objects._names import Keys

__all__ = ["has_kept", "kept_of", "read_run"]


async def read_run(
    bucket: Bucket, key: str, location: str, *, whole: bool = False
) -> tuple[RunObject, Version] | None:
    """Read the object of a run, or all of it but its payload if that is large.

    Args:
        bucket: The bucket.
        key: The key of the object.
        location: The run, for messages.
        whole: Whether the payload is wanted.

    Raises:
        CorruptSnapshotError: It is no run.
        StorageError: It cannot be read.
    """
    most = None if whole else FIRST_BYTES
    while True:
        read = await bucket.get(key, most)
        if read is None:
            return None
        try:
            found = RunObject.decode(read.content, read.size)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            reason = f"the object {key} is none of this library ({error})"
            raise CorruptSnapshotError(location, reason) from error
        if isinstance(found, RunObject):
            return found, read.version
        most = found


async def has_kept(bucket: Bucket, keys: Keys, flow: str | bytes) -> bool:
    """Whether any run of a flow has kept snapshots."""
    return bool(await anext(bucket.pages(keys.all_kept(flow)), []))


async def kept_of(bucket: Bucket, keys: Keys, key: Key) -> list[tuple[int, int]]:
    """List number and sequence of each kept snapshot of a run, newest first."""
    numbers: list[tuple[int, int]] = []
    for one in await bucket.listed(keys.kept(key)):
        number, _, sequence = one.name.partition("-")
        if number.isdecimal() and sequence.isdecimal():
            numbers.append((int(number), int(sequence)))
    return sorted(numbers, key=lambda entry: (entry[1], entry[0]), reverse=True)
