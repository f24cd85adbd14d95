"""An event loop in a thread of its own, for a thread that takes the items of an async iterator.

The loop runs from the first item to the end, so that its tasks continue while the caller is busy
with an item. The iterator itself goes on only when the next item is asked for.

Nothing here holds a lock. A finalizer in any thread may close the iterator: it waits for the end in
the caller's thread alone. The loop may need any other thread.
"""

from __future__ import annotations

import asyncio
import atexit
import weakref
from contextlib import suppress
from contextvars import copy_context
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aiocheckpoint._concurrency import forks
from aiocheckpoint._concurrency.caller_thread import LoopEndedError
from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
from aiocheckpoint._concurrency.work_items import WorkItem
from aiocheckpoint._tracebacks import calls_user_code
from aiocheckpoint.errors import StreamConsumedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from contextvars import Context

    from aiocheckpoint._concurrency.caller_thread import CallerThread

__all__ = ["items_from_loop", "thread_served_by"]

_Item = TypeVar("_Item")
_living: set[weakref.ref[_LoopThread[Any]]] = set()


def items_from_loop(source: AsyncGenerator[_Item, None], caller: CallerThread) -> Generator[_Item]:
    """Give the items of an async generator, which runs on a loop in a thread of its own.

    Its tasks have the context variables of the caller at the first item. Closing the generator
    cancels the work on the loop, and waits for its end. At the end, thread and loop have ended.

    Raises:
        BaseException: The exception of the async generator, or of a task that ended the loop.
        NoThreadError: No thread can be started.
    """
    loop = _LoopThread(source, caller)
    try:
        loop.start()
        with suppress(LoopEndedError):
            while True:
                yield loop.take()
    finally:
        try:
            loop.close()
        except BaseException:  # A second Ctrl-C does not wait for the end.
            loop.abandon()
            raise


def thread_served_by(loop: asyncio.AbstractEventLoop | None) -> int | None:
    """Give the ident of the thread that takes the items from a loop. None where it is no such."""
    for reference in tuple(_living):
        found = reference()
        if found is not None and found.loop is loop:
            return found.caller.ident
    return None


class _LoopWork(WorkItem[None]):
    """The work of the loop's thread. The caller notices its end, whatever ends it."""

    __slots__ = ("_caller",)

    def __init__(self, loop: _LoopThread[Any], caller: CallerThread) -> None:
        super().__init__(loop.run, (copy_context(),), None)
        self._caller = caller

    def deliver(self) -> None:
        self._caller.end()


class _LoopThread(Generic[_Item]):
    """One loop and its thread.

    The loop is made in its thread, where Ctrl-C cannot come in between.

    Args:
        source: The async generator, not begun.
        caller: The thread that takes the items.
    """

    def __init__(self, source: AsyncGenerator[_Item, None], caller: CallerThread) -> None:
        self._source, self._caller = source, caller
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._is_wanted = self._is_closing = False
        self._process = forks.process
        self._thread = DaemonThreads("aiocheckpoint-loop", 1)
        self._work = _LoopWork(self, caller)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop, once it was made."""
        return self._loop

    @property
    def caller(self) -> CallerThread:
        """The thread that takes the items."""
        return self._caller

    def start(self) -> None:
        """Start the thread.

        Raises:
            NoThreadError: No thread can be started.
        """
        _living.add(weakref.ref(self, _living.discard))
        self._thread.put(self._work)

    def take(self) -> _Item:
        """Ask for the next item, and wait for it.

        Raises:
            LoopEndedError: There is none.
            StreamConsumedError: This process is a forked one.
            BaseException: The exception that ended the loop.
        """
        if self._process is not forks.process:
            raise StreamConsumedError(
                "this process was forked while it was under way, and its loop is in the parent."
            )
        self._is_wanted = True
        self._signal()
        try:
            item: _Item = self._caller.wait()
        except LoopEndedError:
            self._raise_error()
            raise
        return item

    def close(self) -> None:
        """Cancel the work, and wait for the end of loop and thread.

        A finalizer in another thread does not wait. The loop may need that thread.
        """
        if self._process is not forks.process:
            return  # The thread is the parent's.
        waits = get_ident() == self._caller.ident
        if not self._work.drop():
            self.stop()
            if waits:
                self._work.join()
        self._thread.shutdown(wait=waits)
        if waits:
            with suppress(asyncio.CancelledError):
                self._raise_error()

    def abandon(self) -> None:
        """Cancel the work, and do not wait for its end."""
        self.stop()
        self._thread.shutdown(wait=False)

    def stop(self) -> None:
        """Cancel the work."""
        self._caller.leave()
        self._is_closing = True
        self._signal()

    def end(self) -> None:
        """Cancel the work at the end of the interpreter, and wait for its end."""
        if self._process is forks.process and not self._work.drop():
            self.stop()
            self._work.join()

    def run(self, context: Context) -> None:
        """Run the loop to its end, in its thread."""
        # With a factory the runner leaves the policy of event loops alone.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            self._loop = runner.get_loop()
            runner.run(self._give_items(), context=context)

    @calls_user_code
    async def _give_items(self) -> None:
        self._task = asyncio.current_task()
        self._look()  # A signal that came before the loop was made has told nobody.
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                self._caller.deliver(await anext(self._source))
        except StopAsyncIteration:
            pass
        finally:
            await self._source.aclose()

    def _signal(self) -> None:
        """Let the loop look for what is wanted."""
        if self._loop is not None:
            with suppress(RuntimeError):  # It has ended.
                self._loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        if self._is_wanted:
            self._is_wanted = False
            self._wanted.set()
        if self._is_closing and self._task is not None:
            self._task.cancel()
            self._task = None

    def _raise_error(self) -> None:
        error, self._work.error = self._work.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # Its traceback holds this frame.


@atexit.register
def _end_all() -> None:
    """End the loops of iterators that nobody closed, while threads can still be started."""
    for reference in list(_living):
        if (loop := reference()) is not None:
            loop.end()
