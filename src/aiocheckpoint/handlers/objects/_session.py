"""One use of a bucket by this process: its owner, the runs that it holds, and its heartbeat."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from aiocheckpoint._concurrency.stalls import StalledError
from aiocheckpoint._logging import NOWHERE, log
from aiocheckpoint.errors import CheckpointError, StoreUnreachableError
from aiocheckpoint.handlers.objects._errors import NotSentError
from aiocheckpoint.handlers.objects._owners import Owners

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
    from typing import Any

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint.handlers.leased._patience import Patience
    from aiocheckpoint.handlers.leased._requests import Key
    from aiocheckpoint.handlers.objects._bucket import Bucket, Version
    from aiocheckpoint.handlers.objects._names import Keys
    from aiocheckpoint.handlers.objects._run_object import RunHead

__all__ = ["HeldRun", "ObjectSession", "repeated"]

_Result = TypeVar("_Result")
_OWNER_ID_BYTES = 8
_MOST_GARBAGE = 1000
_SECONDS_OF_GARBAGE = 0.5


@dataclass(slots=True)
class HeldRun:
    """A run that this process holds.

    Attributes:
        key: The run.
        version: The version of its object that this process has stored last.
        head: Its facts.
        progress: The version of its record of progress, empty for none. None where it is unknown.
        kept: Numbers and sequences of its kept snapshots, newest first. None where unknown.
    """

    key: Key
    version: Version
    head: RunHead
    progress: Version | None = None
    kept: list[tuple[int, int]] | None = None


@dataclass(slots=True)
class _Turn:
    """The turn of the requests of one run."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class ObjectSession:
    """The facts of a session, and what all its requests share.

    Args:
        bucket: The bucket.
        keys: Its keys.
        lease: Length of a lease in seconds.
        patience: Decides how long something is repeated.

    Attributes:
        bucket: The bucket.
        keys: Its keys.
        owner_id: Id of this process among the owners.
        owners: This owner and the others.
        held: The runs that are held, by the tokens of their leases.
        tokens: Tokens of leases, each new.
        is_draining: Whether this process has begun to drain.
        patience: The patience.
    """

    def __init__(self, bucket: Bucket, keys: Keys, lease: float, patience: Patience) -> None:
        self.bucket: Bucket = bucket
        self.keys: Keys = keys
        self.owner_id: str = secrets.token_hex(_OWNER_ID_BYTES)
        self.owners: Owners = Owners(bucket, keys, self.owner_id, lease)
        self.held: dict[int, HeldRun] = {}
        self.tokens: itertools.count[int] = itertools.count(secrets.randbits(61) + 1)
        self.is_draining: bool = False
        self.patience: Patience = patience
        self._lease = lease
        self._numbers = itertools.count(secrets.randbits(48))
        self._turns: dict[Key, _Turn] = {}
        self._garbage: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._heartbeat: asyncio.Task[None] | None = None

    def next_number(self) -> int:
        """Give a number that no other write of a run has."""
        return next(self._numbers)

    def start_heartbeat(self) -> None:
        """Beat from now on, while a run is held."""
        if self._heartbeat is None:
            self._heartbeat = asyncio.ensure_future(self._beat())

    async def _beat(self) -> None:
        warned = False
        while True:
            await asyncio.sleep(max(self._lease / 20, self.owners.seconds_to_heartbeat))
            if not self.held:
                continue
            try:
                await self.owners.beat()
                warned = False
            except CheckpointError as error:
                if not warned and self.owners.seconds_to_heartbeat < -self._lease:
                    words = "The leases of runs could not be renewed, and may be lost: %s"
                    log(logging.WARNING, NOWHERE, words, error)
                    warned = True

    @asynccontextmanager
    async def turn(self, key: Key) -> AsyncGenerator[None, None]:
        """Let the requests of one run follow each other."""
        turn = self._turns.setdefault(key, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                self._turns.pop(key, None)

    def drop_later(self, keys: Iterable[str]) -> None:
        """Delete index objects soon, many by one request. Lists pass over those that stay."""
        is_first = not self._garbage
        self._garbage += keys
        if self._garbage and (is_first or len(self._garbage) >= _MOST_GARBAGE):
            seconds = 0.0 if len(self._garbage) >= _MOST_GARBAGE else _SECONDS_OF_GARBAGE
            self.spawn(self._drop(seconds))

    def take_garbage(self) -> list[str]:
        """Give the keys of the index objects that are to be deleted. The caller deletes them."""
        garbage, self._garbage = self._garbage, []
        return garbage

    async def _drop(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        with suppress(CheckpointError):
            await self.bucket.delete(self.take_garbage())

    def spawn(self, work: Awaitable[None]) -> None:
        """Do something for which nobody waits."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, release_all: Awaitable[None]) -> None:
        """End the heartbeat, release all runs, and delete this owner."""
        with suppress(CheckpointError):
            await release_all
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        with suppress(CheckpointError):
            await self._drop(0.0)
            await self.owners.close()
        for task in list(self._tasks):
            task.cancel()


async def repeated(
    patience: Patience,
    attempt: Callable[[], Awaitable[_Result]],
    pending: PendingResult[Any] | None = None,
) -> _Result:
    """Await an attempt again and again while the store is out of reach.

    Args:
        patience: Decides how long.
        attempt: The attempt, which can be repeated.
        pending: The request. It can be withdrawn while nothing of it is known to be sent.

    Raises:
        StoreUnreachableError: The patience is over.
        StalledError: The request was withdrawn.
    """
    failures, since, in_doubt = 0, 0.0, False
    loop = asyncio.get_running_loop()
    while True:
        if pending is not None and not pending.take():
            raise StalledError(None)
        try:
            result = await attempt()
        except StoreUnreachableError as error:
            since = since if failures else loop.time()
            failures += 1
            in_doubt = in_doubt or not isinstance(error, NotSentError)
            pause = patience.pause_behind(error, failures, since)
        else:
            patience.note_answer()
            return result
        if pending is not None and not in_doubt:
            pending.give_back()
            if pending.drop_if_unwanted():
                raise StalledError(None)
        await asyncio.sleep(pause)
