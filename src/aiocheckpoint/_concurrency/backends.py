"""How the library does its own blocking work under `arun` and under `run`.

The engine is written once and does its blocking work through one of these. `AsyncBackend` serves
`arun`: blocking work goes to threads. `SyncBackend` serves `run`: everything happens in the
caller's thread before the call returns. The engine's coroutine then never suspends, and
`run_to_completion` carries it through in one go.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from aiocheckpoint._concurrency.executors import AsyncExecutor, SyncExecutor
from aiocheckpoint._concurrency.start_throttle import throttle_start
from aiocheckpoint._concurrency.threads import (
    READY,
    SNAPSHOTS,
    finish_result_before_cancelling,
    run_in_thread,
    run_shielded_in_thread,
    shield,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiocheckpoint._concurrency.executors import FunctionExecutor
    from aiocheckpoint._concurrency.jobs import PendingResult

__all__ = ["AsyncBackend", "Backend", "SyncBackend", "run_blocking", "run_to_completion"]

_Result = TypeVar("_Result")


class Backend(Protocol):
    """Does the library's own blocking work, and knows who calls users' functions."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that is not to be blocked; None where nothing else waits."""
        ...

    @property
    def executor(self) -> FunctionExecutor:
        """Calls users' functions and hooks."""
        ...

    async def run(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        """Call a blocking function of the library."""
        ...

    async def run_shielded(
        self,
        function: Callable[..., object],
        *args: Any,  # noqa: ANN401
    ) -> asyncio.CancelledError | None:
        """Call a function that must run and end; give back a cancellation that came meanwhile."""
        ...

    async def wait_for(self, job: PendingResult[_Result]) -> _Result:
        """Wait for a result that was asked for on behalf of `loop`, whatever happens meanwhile."""
        ...

    async def shield(self, work: Coroutine[Any, Any, object]) -> asyncio.CancelledError | None:
        """Await a coroutine that must end; give back a cancellation that came meanwhile."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def cancellations(self) -> int:
        """Count the cancellations of the run that were asked for so far."""
        ...


class AsyncBackend:
    """Works from within a running event loop, which it never blocks."""

    # Thousands of runs wait at once, and an object without attributes costs the garbage collector
    # nothing.
    __slots__ = ()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop."""
        return asyncio.get_running_loop()

    @property
    def executor(self) -> FunctionExecutor:
        """Calls users' functions on the loop or in threads."""
        return AsyncExecutor()

    @classmethod
    async def make(cls) -> Self:
        """Make it when the loop has time for it, and nothing is left to import."""
        if not READY.done:
            await run_in_thread(SNAPSHOTS, READY.prepare)
        backend = cls()
        await throttle_start(backend.loop)
        return backend

    async def run(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        return await run_in_thread(SNAPSHOTS, function, *args)

    async def run_shielded(
        self,
        function: Callable[..., object],
        *args: Any,  # noqa: ANN401
    ) -> asyncio.CancelledError | None:
        return await run_shielded_in_thread(SNAPSHOTS, function, *args)

    async def wait_for(self, job: PendingResult[_Result]) -> _Result:
        try:
            await job.future
        except asyncio.CancelledError as caught:
            await finish_result_before_cancelling(job, caught)
        return job.outcome()

    async def shield(self, work: Coroutine[Any, Any, object]) -> asyncio.CancelledError | None:
        return await shield(work)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def cancellations(self) -> int:
        task = asyncio.current_task()
        return 0 if task is None else task.cancelling()


class SyncBackend:
    """Works in the caller's own thread; each call has ended when it returns."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.executor: SyncExecutor = SyncExecutor()

    async def run(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        return function(*args)

    async def run_shielded(
        self,
        function: Callable[..., object],
        *args: Any,  # noqa: ANN401
    ) -> asyncio.CancelledError | None:
        function(*args)
        return None

    async def wait_for(self, job: PendingResult[_Result]) -> _Result:
        return job.wait()

    async def shield(self, work: Coroutine[Any, Any, object]) -> asyncio.CancelledError | None:
        await work
        return None

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - blocking is right here

    def cancellations(self) -> int:
        return 0  # Ctrl-C comes as a KeyboardInterrupt.

    def close(self) -> None:
        """Close the loop that coroutines made necessary."""
        self.executor.close()


def run_to_completion(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """Carry a coroutine through that never suspends, because it works through `SyncBackend`."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: _Result = end.value
        return result
    coroutine.close()
    raise AssertionError("a coroutine suspended where nothing may")


def run_blocking(work: Callable[[SyncBackend], Coroutine[Any, Any, _Result]]) -> _Result:
    """Carry out work that goes through a `SyncBackend`, and close its loop."""
    backend = SyncBackend()
    try:
        return run_to_completion(work(backend))
    finally:
        backend.close()
