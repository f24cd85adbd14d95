"""Objects of a bucket: reading, writing under a condition, deleting and listing, as coroutines."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint.errors import StoreUnreachableError
from aiocheckpoint.handlers.objects._errors import ConditionError, translated
from aiocheckpoint.handlers.objects._library import library, made_again

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
    from datetime import datetime

__all__ = ["Bucket", "Listed", "Read", "Version"]

Version = dict[str, str]
"""What tells one content of an object from any other: its ETag, and its generation where it has
one. Empty for an object that is not there."""

_BYTES_PER_SECOND = 500_000
"""A slower network counts as out of reach."""
_PAGE = 1000


class Read(NamedTuple):
    """An object as it was read.

    Attributes:
        content: Its bytes, or the first of them.
        size: The size of the whole object.
        version: Its version.
        changed_at: When it was stored, by the clock of the store.
    """

    content: bytes
    size: int
    version: Version
    changed_at: datetime


class Listed(NamedTuple):
    """An object in a list.

    Attributes:
        name: Its name behind the prefix of the list.
        e_tag: Changes with its content.
        changed_at: When it was stored, by the clock of the store.
    """

    name: str
    e_tag: str
    changed_at: datetime


class Bucket:
    """The objects of a bucket, used on one loop.

    Args:
        store: A store of obstore.
        place: The store, for messages.
        seconds_to_answer: How long a small request may take.
        connections: How many requests are in progress at once.
    """

    def __init__(
        self, store: object, place: str, seconds_to_answer: float, connections: int
    ) -> None:
        self._given, self._store = store, made_again(store)
        self._place = place
        self._seconds = seconds_to_answer
        self._room: AbstractAsyncContextManager[Any] = asyncio.Semaphore(connections)
        self._no_wait: AbstractAsyncContextManager[Any] = nullcontext()

    async def get(self, key: str, most: int | None = None) -> Read | None:
        """Read an object, or give None where there is none.

        Args:
            key: Its key.
            most: How many of its first bytes are read. None for all.

        Raises:
            StorageError: It cannot be read. `StoreUnreachableError` where it may be later.
        """
        options = {} if most is None else {"range": (0, most)}
        async with self._room:
            try:
                async with asyncio.timeout(self._seconds) as limit:
                    found = await library().get_async(self._store, key, options=options)
                    begin, end = found.range
                    limit.reschedule(_later(limit, (end - begin) / _BYTES_PER_SECOND))
                    content = bytes(await found.bytes_async())
            except Exception as error:  # noqa: BLE001 - of obstore, whose classes vary
                self._raise_unless_missing(error, "reading")
                return None
        meta: Mapping[str, Any] = found.meta
        return Read(content, meta["size"], _version(meta), meta["last_modified"])

    async def create(self, key: str, content: bytes) -> Version:
        """Store an object that is not there yet.

        Raises:
            ConditionError: It is there.
            StorageError: It cannot be stored. A `StoreUnreachableError` leaves open if it was.
        """
        return await self._put(key, content, "create", self._room)

    async def replace(
        self, key: str, content: bytes, version: Version, *, waits: bool = True
    ) -> Version:
        """Store an object in the place of a version of it.

        Args:
            key: Its key.
            content: Its new content.
            version: The version before. An empty one for none.
            waits: Whether it waits for its turn among the requests.

        Raises:
            ConditionError: The object has another version, or is not there.
            StorageError: As `create`.
        """
        mode: object = version or "create"
        return await self._put(key, content, mode, self._room if waits else self._no_wait)

    async def put(self, key: str, content: bytes) -> Version:
        """Store an object, whatever is there.

        Raises:
            StorageError: As `create`.
        """
        try:
            return await self._put(key, content, "overwrite", self._room)
        except ConditionError:
            raise self._conflict() from None

    async def _put(
        self, key: str, content: bytes, mode: object, room: AbstractAsyncContextManager[Any]
    ) -> Version:
        async with room:
            try:
                async with asyncio.timeout(self._seconds + len(content) / _BYTES_PER_SECOND):
                    stored = await library().put_async(
                        self._store, key, content, mode=mode, use_multipart=False
                    )
            except Exception as error:  # noqa: BLE001 - of obstore, whose classes vary
                self._raise_unless_missing(error, "writing")
                # A store may say so of an object that was to be replaced.
                raise ConditionError from None
        return _version(stored)

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, as far as they are there.

        Raises:
            StorageError: They cannot be deleted.
        """
        if not keys:
            return
        async with self._room:
            await self._missing_is_done(library().delete_async(self._store, list(keys)))

    async def _missing_is_done(self, work: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await work
        except Exception as error:  # noqa: BLE001 - of obstore, whose classes vary
            self._raise_unless_missing(error, "deleting from")

    async def pages(self, folder: str, behind: str = "") -> AsyncIterator[list[Listed]]:
        """List the objects in a folder by their names, up to a thousand at a time.

        Args:
            folder: The key of the folder.
            behind: Only names behind this one.

        Raises:
            StorageError: They cannot be listed.
        """
        begin = f"{folder}/"
        offset = f"{begin}{behind}" if behind else None
        pages = library().list(self._store, folder, offset=offset, chunk_size=_PAGE)
        while True:
            async with self._room:
                try:
                    async with asyncio.timeout(self._seconds):
                        page: Sequence[Mapping[str, Any]] = await anext(pages)
                except StopAsyncIteration:
                    return
                except Exception as error:  # noqa: BLE001 - of obstore, whose classes vary
                    self._raise_unless_missing(error, "listing")
                    return
            yield [
                Listed(one["path"].partition(begin)[2], one["e_tag"] or "", one["last_modified"])
                for one in page
            ]

    async def listed(self, folder: str) -> list[Listed]:
        """List all objects in a folder."""
        return [one async for page in self.pages(folder) for one in page]

    async def folders(self, folder: str) -> list[str]:
        """List the names of the folders in a folder."""
        async with self._room:
            try:
                async with asyncio.timeout(self._seconds):
                    found = await library().list_with_delimiter_async(self._store, folder)
            except Exception as error:  # noqa: BLE001 - of obstore, whose classes vary
                self._raise_unless_missing(error, "listing")
                return []
        return [path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"]]

    def _raise_unless_missing(self, error: Exception, doing: str) -> None:
        failure = translated(error, self._place, doing)
        if isinstance(failure, ConditionError) and doing != "writing":
            failure = self._conflict()
        if failure is not None:
            failure.__cause__ = None
            raise failure from None

    def _conflict(self) -> StoreUnreachableError:
        """Give the error of a request without a condition that was refused for one."""
        return StoreUnreachableError(self._place, "it answered that a condition is not met")


def _version(facts: Mapping[str, Any]) -> Version:
    return {name: facts[name] for name in ("e_tag", "version") if facts.get(name) is not None}


def _later(limit: asyncio.Timeout, seconds: float) -> float:
    when = limit.when()
    return (0.0 if when is None else when) + seconds
