"""One thread with an event loop that carries out the requests of many callers, each by itself.

It is for stores that take single requests, many at once, as object stores do. It takes the place of
a `Writer`, in `_writer.py`. Nothing here holds a lock, for the reasons given there.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TypeVarTuple

from aiocheckpoint._concurrency.pending_results import deliver
from aiocheckpoint.handlers.leased._writer_threads import (
    Close,
    RequestWriter,
    mark_writer,
    pending_closes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

    from aiocheckpoint._concurrency.pending_results import PendingResult

__all__ = ["AsyncProcessor", "LoopWriter"]

_NAME = "aiocheckpoint-loop-writer"
_Arguments = TypeVarTuple("_Arguments")


class AsyncProcessor(Protocol):
    """The work of the loop. Called on the loop alone, apart from `reset_after_fork`."""

    @property
    def is_in_use(self) -> bool:
        """Whether a caller relies on what `close` gives up."""
        ...

    async def carry_out(self, pending: PendingResult[Any]) -> None:
        """Carry out a request, and set its result or its error."""

    async def close(self) -> None:
        """Release everything. No request is in progress."""

    def reset_after_fork(self) -> None:
        """Start over in a forked child, which has no loop."""


class LoopWriter(RequestWriter["_LoopQueue"]):
    """A `RequestWriter` that carries out each request by itself, as a coroutine.

    Args:
        processor: Carries out the requests.
    """

    def __init__(self, processor: AsyncProcessor) -> None:
        super().__init__(processor, partial(_LoopQueue, processor))


class _LoopQueue:
    """The queue and the thread. See `RequestQueue`.

    Args:
        processor: Carries out the requests.

    Attributes:
        is_used: Whether there is something to close.
    """

    def __init__(self, processor: AsyncProcessor) -> None:
        self.is_used: bool = False
        self._processor = processor
        self._queue: SimpleQueue[PendingResult[Any]] = SimpleQueue()
        # setdefault() and pop() are atomic. A signal in the start of a thread may start another.
        self._threads: dict[None, _LoopThread] = {}

    def put(self, pending: PendingResult[Any]) -> None:
        """Queue a request, as `RequestWriter.put` does."""
        self.is_used = True
        self._queue.put(pending)
        while not self._queue.empty():
            thread = self._threads.get(None)
            if thread is None:
                self._start()
            elif thread.wake():
                return

    def is_here(self) -> bool:
        """Whether this is the thread."""
        return self._threads.get(None) is threading.current_thread()

    def _start(self) -> None:
        thread = _LoopThread(self._processor, self._queue, self)
        if self._threads.setdefault(None, thread) is thread:
            try:
                thread.start()
            except BaseException:
                self._threads.pop(None, None)
                self._drop_all()
                raise
        else:
            time.sleep(0)

    def forget(self, thread: _LoopThread) -> None:
        """Note that a thread takes no more requests."""
        if self._threads.get(None) is thread:
            self._threads.pop(None, None)

    def _drop_all(self) -> None:
        with suppress(Empty):
            while True:
                self._queue.get_nowait()


class _Loop(asyncio.SelectorEventLoop):
    """A loop that knows whether another thread is about to wake it.

    Threads of obstore are not Python's. One that waits for the interpreter's lock while the
    interpreter ends aborts the process. It needs the lock last in `call_soon_threadsafe`, by which
    it says that a request is done. The loop may have gone on before that call returns.

    Attributes:
        wakers: How many threads are in that call.
    """

    def __init__(self) -> None:
        super().__init__()
        self.wakers: int = 0

    def call_soon_threadsafe(
        self,
        callback: Callable[[*_Arguments], object],
        *args: *_Arguments,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Do as any loop, and count."""
        # The interpreter changes threads behind a call or a jump, and so in neither of the sums.
        self.wakers += 1
        try:
            return super().call_soon_threadsafe(callback, *args, context=context)
        finally:
            self.wakers -= 1

    async def let_wakers_go(self) -> None:
        """Wait until no thread is about to wake the loop."""
        while self.wakers:  # noqa: ASYNC110 - they cannot set an event behind themselves
            await asyncio.sleep(0.001)


class _LoopThread(threading.Thread):
    """The thread and its loop."""

    def __init__(
        self,
        processor: AsyncProcessor,
        queue: SimpleQueue[PendingResult[Any]],
        requests: _LoopQueue,
    ) -> None:
        super().__init__(name=_NAME, daemon=True)
        self._processor, self._queue, self._requests = processor, queue, requests
        self._loop: _Loop | None = None
        self._is_over = self._is_woken = False
        self._wanted = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: list[PendingResult[Any]] = []

    def wake(self) -> bool:
        """Let the loop look into the queue. False where it looks no more."""
        if self._is_over:
            time.sleep(0)
            return False
        if not self._is_woken:
            self._is_woken = True
            with suppress(RuntimeError):  # It has just ended, and has looked last.
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(self._wanted.set)
        return True

    def run(self) -> None:
        """Carry out requests until one to close."""
        mark_writer()
        loop = self._loop = _Loop()
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            while not self._is_over:
                runner.run(self._serve())

    async def _serve(self) -> None:
        self._wanted.set()  # Requests that came before the loop was there have told nobody.
        while not self._is_over:
            await self._wanted.wait()
            self._wanted.clear()
            self._is_woken = False
            while (pending := self._next()) is not None:
                if isinstance(pending.request, Close):
                    await self._close(pending)
                else:
                    self._begin(self._carry_out(pending))

    def _next(self) -> PendingResult[Any] | None:
        try:
            return self._queue.get_nowait()
        except Empty:
            return None

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, pending: PendingResult[Any]) -> None:
        try:
            await self._processor.carry_out(pending)
        except BaseException as error:  # noqa: BLE001 - a caller waits for every request
            pending.error = error
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._deliver)
        self._ended.append(pending)

    def _deliver(self) -> None:
        """Wake the callers of all requests that have ended together, each loop once."""
        ended, self._ended = self._ended, []
        deliver(ended)

    async def _close(self, pending: PendingResult[Any]) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)
        if not (pending.request.if_unused and self._processor.is_in_use):
            self._requests.is_used = False
            try:
                await self._processor.close()
            except BaseException as error:  # noqa: BLE001 - the caller waits
                pending.error = error
            await self._let_wakers_go()
            if self._queue.empty():
                self._end()
        self._deliver()
        deliver([pending])
        pending_closes.discard(pending)

    async def _let_wakers_go(self) -> None:
        if self._loop is not None:
            await self._loop.let_wakers_go()

    def _end(self) -> None:
        # First the note, then a last look: `put` does the reverse.
        self._is_over = True
        if self._queue.empty():
            self._requests.forget(self)
        else:
            self._is_over = False
