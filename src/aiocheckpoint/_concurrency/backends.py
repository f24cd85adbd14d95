"""The two doors' ways of calling: the engine is written once and calls through one of these.

`AsyncBackend` serves `arun`: blocking work goes to threads, coroutines are awaited. `SyncBackend`
serves `run`: everything happens in the caller's thread before the call returns, so that the
engine's coroutine never suspends and `run_to_completion` can carry it through in one go.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import time
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from aiocheckpoint._concurrency.private_loop import PrivateLoop
from aiocheckpoint._concurrency.start_throttle import throttle_start
from aiocheckpoint._concurrency.threads import (
    READY,
    SNAPSHOTS,
    STEPS,
    finish_before_cancelling,
    finish_result_before_cancelling,
    run_in_thread,
    run_shielded_in_thread,
    shield,
)
from aiocheckpoint._concurrency.timeouts import run_with_timeout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from contextlib import AbstractContextManager

    from aiocheckpoint._concurrency.callables import UserFunction
    from aiocheckpoint._concurrency.jobs import PendingResult
    from aiocheckpoint._model.retry import RetryState

__all__ = [
    "AsyncBackend",
    "Backend",
    "ExceptionEnvelope",
    "SyncBackend",
    "run_blocking",
    "run_to_completion",
]

_Result = TypeVar("_Result")


class ExceptionEnvelope(Exception):  # noqa: N818 - carries an exception, is none to be seen
    """Carries an exception of a user's function that means something else in a coroutine.

    No coroutine can raise a StopIteration (PEP 479), and in one a GeneratorExit says that the
    coroutine itself is thrown away.
    """

    def __init__(self, error: StopIteration | GeneratorExit) -> None:
        super().__init__(error)
        self.error = error


class Backend(Protocol):
    """How the engine calls blocking functions, users' functions and hooks.

    Attributes:
        loop: The loop that is not to be blocked, or None where nothing else waits.
    """

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """See above."""
        ...

    async def run(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        """Call a blocking function of the library."""
        ...

    async def wait_for(self, job: PendingResult[_Result]) -> _Result:
        """Wait for a job that was made for `loop`, whatever happens meanwhile."""
        ...

    async def run_shielded(
        self,
        function: Callable[..., object],
        *args: Any,  # noqa: ANN401
    ) -> asyncio.CancelledError | None:
        """Call one that must run and end, and give back a cancellation that came meanwhile."""
        ...

    def call(self, part: UserFunction, *args: Any) -> Coroutine[Any, Any, Any]:  # noqa: ANN401
        """Call a user's function, sync or async, and await what it returns if need be."""
        ...

    def attempts(self, tries: RetryState) -> AsyncIterator[AbstractContextManager[None]]:
        """Give the attempts of a step, and wait between them."""
        ...

    async def call_to_end(self, part: UserFunction, *args: Any) -> None:  # noqa: ANN401
        """Call a user's function that stores something, and let no cancellation into it."""
        ...

    async def shield(self, work: Coroutine[Any, Any, object]) -> asyncio.CancelledError | None:
        """Await a coroutine that must end, and give back a cancellation that came meanwhile."""
        ...

    async def finish(self, result: Any) -> Any:  # noqa: ANN401
        """Await `result` if it can be awaited, else give it back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def cancellations(self) -> int:
        """How many cancellations of the run were asked for so far."""
        ...


class AsyncBackend:
    """Calls from within a running event loop, which they never block."""

    # Thousands of runs wait at once, and what holds nothing is nothing to the garbage collector.
    __slots__ = ()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop."""
        return asyncio.get_running_loop()

    @classmethod
    async def make(cls) -> Self:
        """Make them when the loop has time for it, and nothing is left to import."""
        if not READY.done:
            await run_in_thread(SNAPSHOTS, READY.prepare)
        backend = cls()
        await throttle_start(backend.loop)
        return backend

    async def run(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        return await run_in_thread(SNAPSHOTS, function, *args)

    async def wait_for(self, job: PendingResult[_Result]) -> _Result:
        try:
            await job.future
        except asyncio.CancelledError as caught:
            await finish_result_before_cancelling(job, caught)
        return job.outcome()

    async def run_shielded(
        self,
        function: Callable[..., object],
        *args: Any,  # noqa: ANN401
    ) -> asyncio.CancelledError | None:
        return await run_shielded_in_thread(SNAPSHOTS, function, *args)

    def call(self, part: UserFunction, *args: Any) -> Coroutine[Any, Any, Any]:  # noqa: ANN401
        if part.on_loop:
            work = self.finish(_call_enveloped(part.function, *args))
        else:
            work = self._user_in_thread(part, args)
        return work if part.limit is None else run_with_timeout(part.limit, work)

    def attempts(self, tries: RetryState) -> AsyncIterator[AbstractContextManager[None]]:
        found: AsyncIterator[AbstractContextManager[None]] = aiter(tries.context)
        return found

    async def _user_in_thread(self, part: UserFunction, args: tuple[Any, ...]) -> Any:  # noqa: ANN401
        pool = SNAPSHOTS if part.stores else STEPS
        context = contextvars.copy_context()
        return await self.finish(
            await run_in_thread(pool, context.run, _call_enveloped, part.function, *args)
        )

    async def call_to_end(self, part: UserFunction, *args: Any) -> None:  # noqa: ANN401
        await finish_before_cancelling(self.call(part, *args))

    async def shield(self, work: Coroutine[Any, Any, object]) -> asyncio.CancelledError | None:
        return await shield(work)

    async def finish(self, result: Any) -> Any:  # noqa: ANN401
        if not inspect.isawaitable(result):
            return result
        try:
            return await result
        except GeneratorExit as error:
            # One that is thrown into this coroutine by close() has no frame below this one.
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                raise ExceptionEnvelope(error) from None
            raise

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def cancellations(self) -> int:
        task = asyncio.current_task()
        return 0 if task is None else task.cancelling()


class SyncBackend:
    """Calls in the caller's own thread, each ended when it returns."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._private: PrivateLoop | None = None

    async def run(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        return function(*args)

    async def wait_for(self, job: PendingResult[_Result]) -> _Result:
        return job.wait()

    async def run_shielded(
        self,
        function: Callable[..., object],
        *args: Any,  # noqa: ANN401
    ) -> asyncio.CancelledError | None:
        function(*args)
        return None

    async def call(self, part: UserFunction, *args: Any) -> Any:  # noqa: ANN401
        result = _call_enveloped(part.function, *args)
        if part.limit is not None and inspect.isawaitable(result):
            result = run_with_timeout(part.limit, result)
        return None if result is None else await self.finish(result)

    def attempts(self, tries: RetryState) -> AsyncIterator[AbstractContextManager[None]]:
        return _BlockingAttempts(tries)

    async def call_to_end(self, part: UserFunction, *args: Any) -> None:  # noqa: ANN401
        await self.call(part, *args)

    async def shield(self, work: Coroutine[Any, Any, object]) -> asyncio.CancelledError | None:
        await work
        return None

    async def finish(self, result: Any) -> Any:  # noqa: ANN401
        if not inspect.isawaitable(result):
            return result
        if self._private is None:
            self._private = PrivateLoop()
        return _call_enveloped(self._private.run, result)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - blocking is what this door is for

    def cancellations(self) -> int:
        return 0  # Ctrl-C comes as itself.

    def close(self) -> None:
        """Close the loop that coroutines made necessary."""
        if self._private is not None:
            self._private.close()


class _BlockingAttempts:
    """The attempts of a step, with waiting that blocks."""

    def __init__(self, tries: RetryState) -> None:
        self._each: Iterator[AbstractContextManager[None]] = iter(tries.context)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AbstractContextManager[None]:
        try:
            return next(self._each)
        except StopIteration:
            raise StopAsyncIteration from None


def run_to_completion(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """Carry a coroutine through that never suspends, because it calls through `SyncBackend`."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: _Result = end.value
        return result
    coroutine.close()
    raise AssertionError("a coroutine suspended where nothing may")


def run_blocking(work: Callable[[SyncBackend], Coroutine[Any, Any, _Result]]) -> _Result:
    """Carry out what is called through `SyncBackend`, and close their loop."""
    backend = SyncBackend()
    try:
        return run_to_completion(work(backend))
    finally:
        backend.close()


def _call_enveloped(function: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401
    try:
        return function(*args)
    except (StopIteration, GeneratorExit) as error:
        raise ExceptionEnvelope(error) from None
