"""Streams: the results of many runs as they end, and the events of one run as they happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aiocheckpoint._model.shown_list import ShownList
from aiocheckpoint._runs.results import drop_states
from aiocheckpoint._tracebacks import calls_user_code, front_door, shortened_traceback
from aiocheckpoint.errors import StreamConsumedError
from aiocheckpoint.events import StepFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiocheckpoint._engine.active_runs import ActiveRuns
    from aiocheckpoint.events import Event, Hook

__all__ = ["Stream", "bounded_results", "run_events"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_EVENTS_AHEAD = 16
"""The most events that a run may be ahead of the loop that takes them."""


class Stream(AsyncIterator[_Item], Coroutine[Any, Any, list[_Item]]):
    """Gives items to one `async for` loop as they come. Awaited, it gives a list of all of them.

    A stream is a coroutine as well, so that `asyncio.create_task(stream)`, `asyncio.run(stream)`
    and the tasks of a `TaskGroup` work. Their result is the list, too.

    The work begins with the loop, or when the stream is awaited. Leaving the loop early cancels
    the running work: at once under `contextlib.aclosing`, otherwise when the stream is garbage
    collected.

    Attributes:
        of: The kind of its items.
    """

    def __init__(self, source: AsyncGenerator[_Item, None], *, of: str = "items") -> None:
        self._source = source
        self.of: str = of
        self._taken = False
        self.__name__: str = f"Stream of {of}"  # The `repr` of its task shows both.
        self.__qualname__: str = self.__name__
        self._list: Coroutine[Any, Any, list[_Item]] | None = None

    def __repr__(self) -> str:
        """The kind of items, and how far the stream is."""
        ended = getattr(self._source, "ag_frame", True) is None
        state = "ended" if ended else "begun" if self._taken else "not begun"
        return f"<{type(self).__name__} of {self.of}, {state}>"

    @front_door
    def __aiter__(self) -> AsyncIterator[_Item]:  # noqa: PYI034 - the generator itself, once
        """Begin the loop over the items.

        Raises:
            StreamConsumedError: Another loop was begun before.
        """
        if self._taken:
            raise StreamConsumedError
        self._taken = True
        return self._source

    @front_door
    async def __anext__(self) -> _Item:
        """Give the next item alone."""
        return await anext(self._source)

    @front_door
    def __await__(self) -> Generator[Any, None, list[_Item]]:
        """Wait for the end, and give all items in a list.

        Raises:
            StreamConsumedError: A loop was begun before.
        """
        return self._all(aiter(self)).__await__()

    @front_door
    def send(self, value: Any, /) -> Any:  # noqa: ANN401
        """Begin or continue the wait for all items, which event loops do for their tasks.

        Raises:
            StreamConsumedError: A loop was begun before.
            StopIteration: The work has ended. Its value is the list.
        """
        return self._begun().send(value)

    @front_door
    def throw(self, error: Any, value: Any = None, tb: Any = None, /) -> Any:  # noqa: ANN401
        """Raise an exception in the wait for all items, such as the cancellation of its task."""
        error = error if value is None else value
        return self._begun().throw(error if tb is None else error.with_traceback(tb))

    def close(self) -> None:
        """End the wait for all items, which event loops do for tasks that they drop.

        Use `aclose` elsewhere: it waits for the end of the running work.
        """
        if self._list is not None:
            self._list.close()

    def _begun(self) -> Coroutine[Any, Any, list[_Item]]:
        if self._list is None:
            self._list = self._all(aiter(self))
        return self._list

    @front_door
    @calls_user_code
    async def _all(self, source: AsyncIterator[_Item]) -> list[_Item]:
        items = list[_Item]()
        async for item in source:  # A comprehension is one frame more in tracebacks.
            items.append(item)
        return ShownList(items, "results") if self.of == "results" else items

    @front_door
    async def aclose(self) -> None:
        """Cancel the running work, and wait until it has ended."""
        await self._source.aclose()


async def run_events(run: Callable[[Hook], Awaitable[object]]) -> AsyncGenerator[Event, None]:
    """Start a run, give its events, and raise its exception at the end.

    The run waits while it is too many events ahead. Leaving the loop cancels the run, and its
    last events are dropped.
    """
    room, events = asyncio.Semaphore(_EVENTS_AHEAD), asyncio.Queue["Event | None"]()
    left = False

    async def hook(event: Event) -> None:
        if isinstance(event, StepFailed):
            drop_states(event.error)
        await room.acquire()
        if left:
            room.release()
        else:
            events.put_nowait(event)

    task = asyncio.ensure_future(run(hook))
    del run  # The traceback of the run's exception would keep its state.
    task.add_done_callback(lambda _: events.put_nowait(None))
    try:
        while (event := await events.get()) is not None:
            room.release()
            yield event
    finally:
        left = True
        room.release()  # A run awaits its hook, so one event at most waits for room.
        task.cancel()
        # Not asyncio.wait(), which a second cancellation ends at once.
        await asyncio.gather(task, return_exceptions=True)
    with shortened_traceback:
        task.result()


class _TaskWindow(Generic[_Item, _Result]):
    """A limited number of tasks that are running, or whose result was not taken yet.

    Args:
        work: Makes the coroutine of a task from an item.
        limit: The most tasks.

    Attributes:
        ended: Tasks that have ended, then None once the source is exhausted.
        room: A permit for each task that may be started.
        tasks: All tasks whose result was not taken.
    """

    def __init__(self, work: Callable[[_Item], Awaitable[_Result | None]], limit: int) -> None:
        self.ended = asyncio.Queue["asyncio.Future[_Result | None] | None"]()
        self.room = asyncio.Semaphore(limit)
        self.tasks: set[asyncio.Future[_Result | None]] = set()
        self._work = work

    async def fill(self, source: AsyncGenerator[_Item, None]) -> None:
        """Start a task for each item of the source, and take an item only when there is room."""
        try:
            while True:
                await self.room.acquire()
                try:
                    item = await anext(source)
                except StopAsyncIteration:
                    return
                task = asyncio.ensure_future(self._work(item))
                self.tasks.add(task)
                task.add_done_callback(self.ended.put_nowait)
        finally:
            self.ended.put_nowait(None)
            await source.aclose()


async def bounded_results(
    source: AsyncGenerator[_Item, None],
    work: Callable[[_Item], Awaitable[_Result | None]],
    limit: int,
    active_runs: ActiveRuns,
) -> AsyncGenerator[_Result, None]:
    """Do `work` for each item, `limit` of them at once, and give the results as they come.

    Results that are None are left out. At most `limit` items and results are held together,
    however slow the source or the loop is. If the source raises, or is cancelled by a drain, the
    running tasks end first. Leaving the loop cancels them.

    Raises:
        DrainingError: The flow is drained, and the source was not exhausted.
    """
    window = _TaskWindow(work, limit)
    filling = asyncio.ensure_future(window.fill(source))
    exhausted = False
    try:
        with shortened_traceback, active_runs.on_drain(filling.cancel):
            while not exhausted or window.tasks:
                task = await window.ended.get()
                if task is None:
                    exhausted = True
                    continue
                result = task.result()
                window.tasks.discard(task)
                if result is not None:
                    yield result
                window.room.release()
    finally:
        running: list[asyncio.Future[Any]] = [filling, *window.tasks]
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    with shortened_traceback:
        if filling.cancelled():
            active_runs.check()
        filling.result()
