"""The proof that a server honours the conditions of writes, at the first use of a prefix.

A server that ignores them would let two processes run one run. There were such servers: versions of
seaweedfs before 4.17 are an example (https://github.com/seaweedfs/seaweedfs/issues/8800).
"""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import TYPE_CHECKING, Any

from aiocheckpoint.errors import IncompatibleSnapshotError, StorageError, StoreUnreachableError
from aiocheckpoint.handlers.objects._errors import ConditionError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from aiocheckpoint.handlers.objects._bucket import Bucket, Version
    from aiocheckpoint.handlers.objects._names import Keys

__all__ = ["check_format", "prove"]

_FORMAT = 1
_AT_ONCE = 6


async def check_format(bucket: Bucket, keys: Keys, place: str) -> bool:
    """Check that the objects are of a format that this version reads.

    Returns:
        Whether the prefix was ever used.

    Raises:
        IncompatibleSnapshotError: They are of a later version.
        StorageError: They are another program's, or cannot be read.
    """
    found = await bucket.get(keys.format)
    if found is None:
        return False
    try:
        facts: dict[str, Any] = json.loads(found.content)
        version = int(facts["format"])
    except (ValueError, TypeError, KeyError):
        raise StorageError(
            place, f"{place} has an object {keys.format!r} of another program. Use another prefix."
        ) from None
    if version > _FORMAT:
        raise IncompatibleSnapshotError(
            place, f"its objects have format {version}, and this version reads {_FORMAT}"
        )
    return True


async def prove(bucket: Bucket, keys: Keys, place: str) -> None:
    """Prove that of several writes under one condition one alone succeeds, and note it.

    Raises:
        StorageError: The server ignores a condition. A `StoreUnreachableError` where it has not
            answered clearly.
    """
    key = keys.probe(secrets.token_hex(8))
    try:
        contents = [b"%d" % number for number in range(2 * _AT_ONCE)]
        creating = [bucket.create(key, one) for one in contents[:_AT_ONCE]]
        version = await _one_of(creating, place, "If-None-Match")
        replacing = [bucket.replace(key, one, version) for one in contents[_AT_ONCE:]]
        await _one_of(replacing, place, "If-Match")
    finally:
        await bucket.delete([key])
    facts = {"format": _FORMAT, "library": "aiocheckpoint"}
    await bucket.put(keys.format, json.dumps(facts).encode())


async def _one_of(
    writes: Sequence[Coroutine[Any, Any, Version]], place: str, header: str
) -> Version:
    """Wait for writes under one condition. Give the version of the one that has succeeded."""
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    versions = [one for one in outcomes if isinstance(one, dict)]
    failures = [one for one in outcomes if isinstance(one, BaseException)]
    for failure in failures:
        if not isinstance(failure, (ConditionError, StoreUnreachableError)):
            raise failure
    if len(versions) == 1:
        return dict(versions[0])
    unclear = next((one for one in failures if isinstance(one, StoreUnreachableError)), None)
    if unclear is not None and not versions:
        raise unclear
    raise StorageError(
        place,
        f"{place} ignores the condition {header} of writes: {len(versions)} of {_AT_ONCE} "
        "succeeded at once, where one may. Two processes could execute one run. Use a server that "
        "honours it, such as AWS S3, Google Cloud Storage, Azure Blob Storage or seaweedfs 4.48.",
    )
