"""The library's own blocking work, under `arun` and under `run`.

The engine is written once and does its blocking work through a backend. `AsyncBackend` serves
`arun`. It hands blocking work to threads. `SyncBackend` serves `run`. It does all work in the
caller's thread. The coroutine of the engine then never suspends, and `run_to_completion` runs it
in one go.
"""

from __future__ import annotations

import asyncio
import sys
import time
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeVar

from aiocheckpoint._concurrency.anyio_warm_up import anyio_warm_up
from aiocheckpoint._concurrency.async_reading import read_off_loop
from aiocheckpoint._concurrency.executors import AsyncExecutor, SyncExecutor
from aiocheckpoint._concurrency.giving_up import giving_up_after, stall_seconds
from aiocheckpoint._concurrency.interrupters import TaskInterrupter
from aiocheckpoint._concurrency.stalls import DrainWatch, StalledError, StallWatch
from aiocheckpoint._concurrency.start_throttle import start_throttle
from aiocheckpoint._concurrency.threads import (
    SNAPSHOTS,
    finish_before_cancelling,
    gives_up_at_once,
    raise_cancellation_after,
    run_in_thread,
    run_shielded_in_thread,
    shield,
    wait_for_item,
)
from aiocheckpoint._concurrency.work_items import WorkItem

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
    from aiocheckpoint._concurrency.executors import FunctionExecutor
    from aiocheckpoint._concurrency.interrupters import Interrupter
    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint._concurrency.step_threads import StepThreads

__all__ = ["AsyncBackend", "Backend", "SyncBackend", "run_blocking", "run_to_completion"]

_Result = TypeVar("_Result")


class Backend(Protocol):
    """Does the library's own blocking work, and has the executor for users' functions."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that must not be blocked, or None if the caller's thread may be."""
        ...

    @property
    def executor(self) -> FunctionExecutor:
        """Calls users' functions and hooks."""
        ...

    @property
    def hook_loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that is running for the run, and can call hooks. Asked in any thread."""
        ...

    @property
    def is_here(self) -> bool:
        """Whether the run is in this thread, and can call hooks in it if no loop is running."""
        ...

    @property
    def gave_up(self) -> bool:
        """Whether a drain has given up the calls of the flow."""
        ...

    async def run(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        """Call a blocking function of the library. A cancellation waits for its end."""
        ...

    async def read(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        """Call a blocking function that only reads. A cancellation ends the wait at once."""
        ...

    async def run_shielded(
        self,
        function: Callable[..., object],
        *args: Any,  # noqa: ANN401
        if_stalled: Literal["withdraw", "leave"],
    ) -> asyncio.CancelledError | None:
        """Call a function that must run to its end. Return a cancellation that came meanwhile.

        Args:
            function: The function.
            args: Its arguments.
            if_stalled: What becomes of the call of a cancelled run whose store hangs: it is
                withdrawn if it has not begun, or left to the threads.

        Raises:
            StalledError: The call was withdrawn.
        """
        ...

    async def wait_for(self, pending: PendingResult[_Result]) -> _Result:
        """Wait for a result that was requested for `loop`. A cancellation waits for it too.

        Of a store that has not answered for a second, a request that was not sent is withdrawn.
        """
        ...

    async def shield(self, work: Coroutine[Any, Any, object]) -> asyncio.CancelledError | None:
        """Await a coroutine to its end. Return a cancellation that came meanwhile."""
        ...

    async def finish(
        self,
        work: Coroutine[Any, Any, _Result],
        caught: asyncio.CancelledError | None = None,
        *,
        needs_store: bool = False,
    ) -> _Result:
        """Await a coroutine to its end, and only then raise a cancellation.

        Args:
            work: The coroutine.
            caught: A cancellation that was caught before, to be raised at the end.
            needs_store: Whether the cancellation reaches `work` where the store hangs. Else it does
                where a drain has given up.
        """
        ...

    async def wait_at_most(self, pending: PendingResult[Any], seconds: float) -> None:
        """Wait for at most so long for a result of `loop`. A cancellation ends the wait at once."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait so long. A cancellation ends the wait at once."""
        ...

    def cancellations(self) -> int:
        """Give the number of cancellations of the run so far."""
        ...

    def interrupter(self) -> Interrupter:
        """Make the interrupter of the run, in its own task."""
        ...


class AsyncBackend:
    """Works under a running event loop and never blocks it.

    Args:
        executor: Calls users' functions.

    Attributes:
        executor: The same.
        loop: The running loop.
    """

    # Thousands of runs may be waiting, and the garbage collector visits every attribute dict.
    __slots__ = ("_threads", "_throttle", "executor", "loop")

    def __init__(self, executor: AsyncExecutor) -> None:
        self.executor: AsyncExecutor = executor
        self._threads = executor.store_threads
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._throttle = start_throttle(executor.step_threads, self.loop)

    @property
    def hook_loop(self) -> asyncio.AbstractEventLoop:
        return self.loop

    @property
    def is_here(self) -> bool:
        return False  # Hooks are called on the loop alone.

    @property
    def gave_up(self) -> bool:
        return self.executor.step_threads.abandoned

    @classmethod
    async def make(cls, step_threads: StepThreads, store_threads: DaemonThreads) -> Self:
        """Make a backend when the loop has room for one more run.

        Args:
            step_threads: The threads for sync functions of the flow.
            store_threads: The threads for blocking calls of its store.
        """
        throttle = start_throttle(step_threads, asyncio.get_running_loop())
        if (turn := throttle.ask()) is not None:
            await turn
        return await cls.make_for_reading(step_threads, store_threads)

    @classmethod
    async def make_for_reading(
        cls, step_threads: StepThreads, store_threads: DaemonThreads
    ) -> Self:
        """Make a backend for a call that starts no run, at once.

        Args:
            step_threads: The threads for sync functions of the flow.
            store_threads: The threads for blocking calls of its store.
        """
        if not anyio_warm_up.done:
            with start_throttle(step_threads, asyncio.get_running_loop()):
                await run_in_thread(SNAPSHOTS, anyio_warm_up.prepare)
        return cls(AsyncExecutor(step_threads, store_threads))

    async def run(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        item: WorkItem[_Result] = WorkItem(self._threads.made_call(function), args, self.loop)
        with self._throttle:
            await wait_for_item(self._threads, item)
        return item.outcome()

    async def read(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        async with self._throttle.reads:
            return await read_off_loop(self._threads, function, *args)

    async def run_shielded(
        self,
        function: Callable[..., object],
        *args: Any,  # noqa: ANN401
        if_stalled: Literal["withdraw", "leave"],
    ) -> asyncio.CancelledError | None:
        with self._throttle:
            if if_stalled == "withdraw" and gives_up_at_once(self._threads):
                raise StalledError(None)
            call = self._threads.made_call(function)
            return await run_shielded_in_thread(self._threads, call, *args, if_stalled=if_stalled)

    async def wait_for(self, pending: PendingResult[_Result]) -> _Result:
        with self._throttle:
            try:
                await pending.future
            except asyncio.CancelledError as caught:
                await raise_cancellation_after(pending, caught, self._threads)
            except BaseException:
                pending.withdraw()
                raise
            return pending.outcome()

    async def shield(self, work: Coroutine[Any, Any, object]) -> asyncio.CancelledError | None:
        return await shield(work)

    async def finish(
        self,
        work: Coroutine[Any, Any, _Result],
        caught: asyncio.CancelledError | None = None,
        *,
        needs_store: bool = False,
    ) -> _Result:
        of_store = partial(StallWatch, self._threads)
        of_drain = partial(DrainWatch, self.executor.step_threads)
        return await finish_before_cancelling(work, caught, of_store if needs_store else of_drain)

    async def wait_at_most(self, pending: PendingResult[Any], seconds: float) -> None:
        timer = self.loop.call_later(seconds, pending.end_wait)
        try:
            await pending.future
        finally:
            timer.cancel()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def cancellations(self) -> int:
        task = asyncio.current_task()
        return 0 if task is None else task.cancelling()

    def interrupter(self) -> Interrupter:
        return TaskInterrupter()


class SyncBackend:
    """Works in the caller's own thread. No call is suspended."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.executor: SyncExecutor = SyncExecutor()
        self.gave_up: bool = False
        self._thread = get_ident()
        self._is_stalled = False

    @property
    def hook_loop(self) -> asyncio.AbstractEventLoop | None:
        return self.executor.running_loop

    @property
    def is_here(self) -> bool:
        return self._thread == get_ident()

    async def run(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        return function(*args)

    async def read(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        return function(*args)

    async def run_shielded(
        self,
        function: Callable[..., object],
        *args: Any,  # noqa: ANN401
        if_stalled: Literal["withdraw", "leave"],
    ) -> asyncio.CancelledError | None:
        if not _is_interrupted():
            function(*args)
            return None
        try:
            with giving_up_after(0.0 if self._is_stalled else stall_seconds()):
                function(*args)
        except StalledError:
            self._is_stalled = True
            if if_stalled == "withdraw":
                raise
        return None

    async def wait_for(self, pending: PendingResult[_Result]) -> _Result:
        return pending.wait()

    async def shield(self, work: Coroutine[Any, Any, object]) -> asyncio.CancelledError | None:
        await work
        return None

    async def finish(
        self,
        work: Coroutine[Any, Any, _Result],
        caught: asyncio.CancelledError | None = None,
        *,
        needs_store: bool = False,  # noqa: ARG002
    ) -> _Result:
        result = await work
        if caught is not None:
            raise caught
        return result

    async def wait_at_most(self, pending: PendingResult[Any], seconds: float) -> None:
        pending.wait_at_most(seconds)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - blocks the thread as all calls here do

    def cancellations(self) -> int:
        return self.executor.interrupter.count  # Ctrl-C raises KeyboardInterrupt.

    def interrupter(self) -> Interrupter:
        return self.executor.interrupter

    def close(self) -> None:
        """Close the private loop, if there is one."""
        self.executor.close()


def _is_interrupted() -> bool:
    """Whether the code that runs now handles Ctrl-C or the like in this thread."""
    return not isinstance(sys.exception() or ValueError(), (Exception, asyncio.CancelledError))


def run_to_completion(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a coroutine that never suspends, because it works through a `SyncBackend`."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: _Result = end.value
        return result
    coroutine.close()
    raise AssertionError("a coroutine suspended under SyncBackend")


def run_blocking(work: Callable[[SyncBackend], Coroutine[Any, Any, _Result]]) -> _Result:
    """Do work through a `SyncBackend`, and close its private loop."""
    backend = SyncBackend()
    try:
        return run_to_completion(work(backend))
    finally:
        backend.close()
