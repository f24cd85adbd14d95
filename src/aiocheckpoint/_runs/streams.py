"""What is given bit by bit, as it happens: results of runs, and events of one run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aiocheckpoint._concurrency.late_imports import import_in_thread
from aiocheckpoint._engine.dispatch import EVENTS
from aiocheckpoint.errors import StreamConsumedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiocheckpoint._engine.drain import Drain
    from aiocheckpoint.events import Event, Hook

__all__ = ["Stream", "events_of", "outcomes"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_AHEAD = 16
"""How many events a run may be ahead of whoever follows it."""


class Stream(AsyncIterator[_Item], Generic[_Item]):
    """Gives things as they happen, to one `async for` loop; or, awaited, a list of all of them.

    Nothing happens until it is looped over or awaited. A loop that is left early lets what is under
    way be cancelled: at once under `contextlib.aclosing`, otherwise as soon as the stream is
    garbage.
    """

    def __init__(self, source: AsyncGenerator[_Item, None]) -> None:
        self._source = source
        self._taken = False

    def __aiter__(self) -> AsyncIterator[_Item]:  # noqa: PYI034 - the generator itself, once
        """Begin to give things.

        Raises:
            StreamConsumedError: That was begun before.
        """
        if self._taken:
            raise StreamConsumedError
        self._taken = True
        return self._source

    async def __anext__(self) -> _Item:
        """Give the next thing alone."""
        return await anext(self._source)

    def __await__(self) -> Generator[Any, None, list[_Item]]:
        """Wait for the end, and give all in a list.

        Raises:
            StreamConsumedError: It was looped over before.
        """
        return self._all(aiter(self)).__await__()

    async def _all(self, source: AsyncIterator[_Item]) -> list[_Item]:
        return [item async for item in source]

    async def aclose(self) -> None:
        """Cancel what is under way, and wait until that has ended."""
        await self._source.aclose()


async def events_of(
    run: Callable[[Hook], Awaitable[object]],
) -> AsyncGenerator[Event, None]:
    """Start a run and give its events; at the end raise what it raised.

    The run waits where it is too far ahead. When the loop is left it is cancelled, and goes to its
    end without being heard.
    """
    await import_in_thread(EVENTS)
    room, told = asyncio.Semaphore(_AHEAD), asyncio.Queue["Event | None"]()
    left = False

    async def hook(event: Event) -> None:
        await room.acquire()
        if left:
            room.release()
        else:
            told.put_nowait(event)

    task = asyncio.ensure_future(run(hook))
    task.add_done_callback(lambda _: told.put_nowait(None))
    try:
        while (event := await told.get()) is not None:
            room.release()
            yield event
    finally:
        left = True
        room.release()  # One event at most waits for room: a run tells one after the other.
        task.cancel()
        # Not asyncio.wait(), which a second cancellation ends at once.
        await asyncio.gather(task, return_exceptions=True)
    task.result()


class _TaskWindow(Generic[_Item, _Result]):
    """Pieces of work that are under way, at most so many, with those whose end nobody took yet."""

    def __init__(self, work: Callable[[_Item], Awaitable[_Result | None]], limit: int) -> None:
        self.ended = asyncio.Queue["asyncio.Future[_Result | None] | None"]()
        self.room = asyncio.Semaphore(limit)
        self.under_way: set[asyncio.Future[_Result | None]] = set()
        self._work = work

    async def take(self, source: AsyncGenerator[_Item, None]) -> None:
        """Begin with each item that the source gives, asking for one only when there is room."""
        try:
            while True:
                await self.room.acquire()
                try:
                    item = await anext(source)
                except StopAsyncIteration:
                    return
                task = asyncio.ensure_future(self._work(item))
                self.under_way.add(task)
                task.add_done_callback(self.ended.put_nowait)
        finally:
            self.ended.put_nowait(None)
            await source.aclose()


async def outcomes(
    source: AsyncGenerator[_Item, None],
    work: Callable[[_Item], Awaitable[_Result | None]],
    limit: int,
    drain: Drain,
) -> AsyncGenerator[_Result, None]:
    """Do `work` for each item, `limit` of them at once, and give the results as they come.

    Those that are None are left out. No more is held than `limit` items or results together,
    however slow the source or the loop is. When the source raises, or is cancelled because the flow
    is drained, what is under way comes to its end before that goes on. When the loop is left, what
    is under way is cancelled.

    Raises:
        DrainingError: The flow is drained, and the source was not exhausted.
    """
    crowd = _TaskWindow(work, limit)
    taking = asyncio.ensure_future(crowd.take(source))
    exhausted = False
    try:
        with drain.on_drain(taking.cancel):
            while not exhausted or crowd.under_way:
                task = await crowd.ended.get()
                if task is None:
                    exhausted = True
                    continue
                result = task.result()
                crowd.under_way.discard(task)
                if result is not None:
                    yield result
                crowd.room.release()
    finally:
        under_way: list[asyncio.Future[Any]] = [taking, *crowd.under_way]
        for one in under_way:
            one.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
    if taking.cancelled():
        drain.check()
    taking.result()
