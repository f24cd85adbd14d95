"""The request to terminate a run, which has an object of its own.

It belongs to one number of the run. One that nobody has seen before the end of the run counts no
more in the next one.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased._requests import Key
    from aiocheckpoint.handlers.objects._bucket import Bucket
    from aiocheckpoint.handlers.objects._names import Keys

__all__ = ["Ending", "has_ending", "read_ending"]


class Ending(NamedTuple):
    """A request to terminate a run.

    Attributes:
        number: Number of the run.
        run_id: The run id in UTF-8, as hexadecimal digits.
        request: The request, a line of ASCII.
    """

    number: int
    run_id: str
    request: str

    def encode(self) -> bytes:
        """The content of its object."""
        return json.dumps(self._asdict()).encode()

    @classmethod
    def decode(cls, content: bytes) -> Ending | None:
        """Read the content of an object. None for any other one."""
        with suppress(ValueError, TypeError, KeyError):
            facts: dict[str, Any] = json.loads(content)
            return cls(int(facts["number"]), str(facts["run_id"]), str(facts["request"]))
        return None


async def read_ending(bucket: Bucket, keys: Keys, key: Key, number: int) -> str | None:
    """Read the request to terminate a run of this number."""
    found = await bucket.get(keys.ending(key))
    ending = None if found is None else Ending.decode(found.content)
    return None if ending is None or ending.number != number else ending.request


async def has_ending(bucket: Bucket, keys: Keys, key: Key, number: int) -> bool:
    """Whether the end of a run of this number is asked for."""
    return await read_ending(bucket, keys, key, number) is not None
