"""A watcher of the events of all runs of a flow in this process: `watch`."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Iterator
from threading import TIMEOUT_MAX, RLock
from typing import TYPE_CHECKING, Any, NoReturn, Self

from aiocheckpoint._closing import ClosedAtEnd
from aiocheckpoint._concurrency import forks
from aiocheckpoint._concurrency.copies import copied
from aiocheckpoint._concurrency.pending_results import PendingResult, deliver
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import InvalidTypeError, StreamConsumedError
from aiocheckpoint.events import Event, EventsDropped

if TYPE_CHECKING:
    from types import TracebackType

    from aiocheckpoint._engine.context import FlowSettings

__all__ = ["Watch"]


class Watch(ClosedAtEnd, AsyncIterator[Event], Iterator[Event]):
    """Gives the events of the runs of a flow in this process, from the call of `watch` on.

    Loop over it by `async for` on any event loop, or by `for` in a thread that no run needs. One
    loop takes them at a time. Each call of `watch` gives another watcher.

    No run waits for a watcher. It keeps `size` events for a slow one. Beyond that the oldest are
    dropped, and an `aiocheckpoint.events.EventsDropped` stands in their place.

    It ends when it is closed: by `close`, `aclose`, the end of a `with` or `async with` block, or
    the garbage collector. It also ends once the flow is drained and all events are taken.
    """

    def __init__(
        self, settings: FlowSettings, run_id: str | None, size: int, *, until_end: bool
    ) -> None:
        self._settings, self._run_id, self._size = settings, run_id, size
        self._until_end = until_end
        self._active_runs = settings.active_runs
        self._process = forks.process
        # Re-entrant, as a signal handler may emit an event too. Nothing is waited for inside.
        self._lock = RLock()
        self._events = deque[Event]()
        self._dropped = 0
        self._closed = False
        self._waiting: dict[PendingResult[None], None] = {}
        self._watcher = _Watcher(self)
        settings.listeners.add(self._watcher)
        self._active_runs.on_ends(self._watcher.wake)

    def __repr__(self) -> str:
        """The flow and the run, and whether it has ended."""
        run = "" if self._run_id is None else f", run {self._run_id!r}"
        ended = ", ended" if self._closed else ""
        return f"<{type(self).__name__} of {self._settings.flow!r}{run}{ended}>"

    def __del__(self) -> None:
        """Hear no more."""
        if "_watcher" in self.__dict__:
            self._leave()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be copied or pickled.

        Raises:
            InvalidTypeError: Always.
        """
        raise InvalidTypeError(
            "a Watch cannot be copied or pickled, because it hears the runs of this process. Call "
            "watch() of the flow again for another one."
        )

    @property
    def in_progress(self) -> bool:
        """Whether the run, or any run where none was named, is in progress in this process."""
        for run in self._active_runs.living():
            if run.has_lock and (self._run_id is None or self._run_id == run.run_id):
                return True
        return False

    def __aiter__(self) -> Self:
        """Give itself."""
        return self

    @front_door
    async def __anext__(self) -> Event:
        """Wait for the next event. The run goes on meanwhile, whatever becomes of the wait.

        Raises:
            StreamConsumedError: Another task or thread waits for it.
            StopAsyncIteration: It has ended.
        """
        while (event := self._next(StopAsyncIteration)) is None:
            pending = self._enter(asyncio.get_running_loop())
            try:
                if not self._has_news():
                    await pending.future
            finally:
                self._waiting.pop(pending, None)
        return event

    def __iter__(self) -> Self:
        """Give itself."""
        return self

    @front_door
    def __next__(self) -> Event:
        """Block this thread until the next event.

        Raises:
            StreamConsumedError: Another task or thread waits for it.
            StopIteration: It has ended.
        """
        while (event := self._next(StopIteration)) is None:
            pending = self._enter(None)
            try:
                if not self._has_news():
                    pending.wait_at_most(TIMEOUT_MAX)
            finally:
                self._waiting.pop(pending, None)
        return event

    @front_door
    def close(self) -> None:
        """End it, in any thread. A loop over it ends, and events that it has not taken are gone."""
        self._leave()
        self._events.clear()
        self._wake()

    @front_door
    async def aclose(self) -> None:
        """End it, as `close` does."""
        self.close()

    async def __aenter__(self) -> Self:
        """Give itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def _leave(self) -> None:
        self._closed = True
        self._settings.listeners.remove(self._watcher)
        self._active_runs.forget(self._watcher.wake)

    def _hear(self, event: Event) -> None:
        """Take an event, in the thread in which it happens."""
        if self._closed or (self._run_id is not None and self._run_id != event.run_id):
            return
        with self._lock:
            self._events.append(event)
            if len(self._events) > self._size:
                self._events.popleft()
                self._dropped += 1
        self._wake()

    def _next(self, end: type[Exception]) -> Event | None:
        """Take the next event, or give None where it has to be waited for.

        Args:
            end: Raised at the end.
        """
        is_over = self._is_over()  # Asked first: the last events come before it.
        event = None if self._is_closed else self._take()
        if event is None and is_over:
            self.close()
            raise end
        return event

    def _take(self) -> Event | None:
        """Take the next event, or what stands for those that were dropped before it."""
        with self._lock:
            count, self._dropped = self._dropped, 0
            if not count:
                return self._events.popleft() if self._events else None
        return EventsDropped(flow=self._settings.flow, run_id=self._run_id, number=0, count=count)

    @property
    def _is_closed(self) -> bool:
        return self._closed or self._process is not forks.process

    def _is_over(self) -> bool:
        """Whether no further event comes."""
        if self._is_closed or self._active_runs.is_over:
            return True
        return self._until_end and not self.in_progress

    def _has_news(self) -> bool:
        return bool(self._events) or self._is_over()

    def _enter(self, loop: asyncio.AbstractEventLoop | None) -> PendingResult[None]:
        """Note the wait for the next event, before it is looked for once more."""
        others = copied(self._waiting)
        if any(other.loop is None or not other.loop.is_closed() for other in others):
            raise StreamConsumedError(
                "another task or thread is waiting for its next event. Call watch() for each."
            )
        pending: PendingResult[None] = PendingResult(None, loop)
        self._waiting[pending] = None
        return pending

    def _wake(self) -> None:
        if self._process is not forks.process:
            return  # The parent's loops wait.
        while self._waiting:
            try:
                pending, _ = self._waiting.popitem()
            except KeyError:  # Another thread has taken it.
                return
            deliver([pending])


class _Watcher:
    """Hears events for a `Watch`, which it does not keep alive."""

    __slots__ = ("_watch",)

    def __init__(self, watch: Watch) -> None:
        self._watch: weakref.ref[Any] = weakref.ref(watch)

    def __call__(self, event: Event) -> None:
        watch = self._watch()
        if watch is not None:
            watch._hear(event)  # noqa: SLF001 - one class in two parts

    def wake(self) -> None:
        """Let the watch look whether it has ended."""
        watch = self._watch()
        if watch is not None:
            watch._wake()  # noqa: SLF001
