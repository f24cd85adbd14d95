"""The two doors' ways of calling: the engine is written once and calls through one of these.

`LoopCalls` serves `arun`: blocking work goes to threads, coroutines are awaited. `ThreadCalls`
serves `run`: everything happens in the caller's thread before the call returns, so that the
engine's coroutine never suspends and `drive` can carry it through in one go.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import time
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from aiocheckpoint._concurrency.private_loop import PrivateLoop
from aiocheckpoint._concurrency.start_throttle import pass_gate
from aiocheckpoint._concurrency.threads import (
    READY,
    SNAPSHOTS,
    STEPS,
    in_thread,
    see_job_through,
    see_through,
    settle_in_thread,
    shelter,
)
from aiocheckpoint._concurrency.timeouts import within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from contextlib import AbstractContextManager

    from aiocheckpoint._concurrency.callables import Part
    from aiocheckpoint._concurrency.jobs import Job
    from aiocheckpoint._model.retry import Tries

__all__ = ["Calls", "Carrier", "LoopCalls", "ThreadCalls", "drive", "now"]

_Result = TypeVar("_Result")


class Carrier(Exception):  # noqa: N818 - carries an exception, is none to be seen
    """Carries an exception of a user's function that means something else in a coroutine.

    No coroutine can raise a StopIteration (PEP 479), and in one a GeneratorExit says that the
    coroutine itself is thrown away.
    """

    def __init__(self, error: StopIteration | GeneratorExit) -> None:
        super().__init__(error)
        self.error = error


class Calls(Protocol):
    """How the engine calls blocking functions, users' functions and hooks.

    Attributes:
        loop: The loop that is not to be blocked, or None where nothing else waits.
    """

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """See above."""
        ...

    async def block(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        """Call a blocking function of the library."""
        ...

    async def ended(self, job: Job[_Result]) -> _Result:
        """Wait for a job that was made for `loop`, whatever happens meanwhile."""
        ...

    async def settle(
        self,
        function: Callable[..., object],
        *args: Any,  # noqa: ANN401
    ) -> asyncio.CancelledError | None:
        """Call one that must run and end, and give back a cancellation that came meanwhile."""
        ...

    def user(self, part: Part, *args: Any) -> Coroutine[Any, Any, Any]:  # noqa: ANN401
        """Call a user's function, sync or async, and await what it returns if need be."""
        ...

    def attempts(self, tries: Tries) -> AsyncIterator[AbstractContextManager[None]]:
        """Give the attempts of a step, and wait between them."""
        ...

    async def persist(self, part: Part, *args: Any) -> None:  # noqa: ANN401
        """Call a user's function that stores something, and let no cancellation into it."""
        ...

    async def shelter(self, work: Coroutine[Any, Any, object]) -> asyncio.CancelledError | None:
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


class LoopCalls:
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
            await in_thread(SNAPSHOTS, READY.prepare)
        calls = cls()
        await pass_gate(calls.loop)
        return calls

    async def block(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        return await in_thread(SNAPSHOTS, function, *args)

    async def ended(self, job: Job[_Result]) -> _Result:
        try:
            await job.future
        except asyncio.CancelledError as caught:
            await see_job_through(job, caught)
        return job.outcome()

    async def settle(
        self,
        function: Callable[..., object],
        *args: Any,  # noqa: ANN401
    ) -> asyncio.CancelledError | None:
        return await settle_in_thread(SNAPSHOTS, function, *args)

    def user(self, part: Part, *args: Any) -> Coroutine[Any, Any, Any]:  # noqa: ANN401
        if part.on_loop:
            work = self.finish(_plainly(part.function, *args))
        else:
            work = self._user_in_thread(part, args)
        return work if part.limit is None else within(part.limit, work)

    def attempts(self, tries: Tries) -> AsyncIterator[AbstractContextManager[None]]:
        found: AsyncIterator[AbstractContextManager[None]] = aiter(tries.context)
        return found

    async def _user_in_thread(self, part: Part, args: tuple[Any, ...]) -> Any:  # noqa: ANN401
        pool = SNAPSHOTS if part.stores else STEPS
        context = contextvars.copy_context()
        return await self.finish(await in_thread(pool, context.run, _plainly, part.function, *args))

    async def persist(self, part: Part, *args: Any) -> None:  # noqa: ANN401
        await see_through(self.user(part, *args))

    async def shelter(self, work: Coroutine[Any, Any, object]) -> asyncio.CancelledError | None:
        return await shelter(work)

    async def finish(self, result: Any) -> Any:  # noqa: ANN401
        if not inspect.isawaitable(result):
            return result
        try:
            return await result
        except GeneratorExit as error:
            # One that is thrown into this coroutine by close() has no frame below this one.
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                raise Carrier(error) from None
            raise

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def cancellations(self) -> int:
        task = asyncio.current_task()
        return 0 if task is None else task.cancelling()


class ThreadCalls:
    """Calls in the caller's own thread, each ended when it returns."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._private: PrivateLoop | None = None

    async def block(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        return function(*args)

    async def ended(self, job: Job[_Result]) -> _Result:
        return job.wait()

    async def settle(
        self,
        function: Callable[..., object],
        *args: Any,  # noqa: ANN401
    ) -> asyncio.CancelledError | None:
        function(*args)
        return None

    async def user(self, part: Part, *args: Any) -> Any:  # noqa: ANN401
        result = _plainly(part.function, *args)
        if part.limit is not None and inspect.isawaitable(result):
            result = within(part.limit, result)
        return None if result is None else await self.finish(result)

    def attempts(self, tries: Tries) -> AsyncIterator[AbstractContextManager[None]]:
        return _BlockingAttempts(tries)

    async def persist(self, part: Part, *args: Any) -> None:  # noqa: ANN401
        await self.user(part, *args)

    async def shelter(self, work: Coroutine[Any, Any, object]) -> asyncio.CancelledError | None:
        await work
        return None

    async def finish(self, result: Any) -> Any:  # noqa: ANN401
        if not inspect.isawaitable(result):
            return result
        if self._private is None:
            self._private = PrivateLoop()
        return _plainly(self._private.run, result)

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

    def __init__(self, tries: Tries) -> None:
        self._each: Iterator[AbstractContextManager[None]] = iter(tries.context)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AbstractContextManager[None]:
        try:
            return next(self._each)
        except StopIteration:
            raise StopAsyncIteration from None


def drive(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """Carry a coroutine through that never suspends, because it calls through `ThreadCalls`."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: _Result = end.value
        return result
    coroutine.close()
    raise AssertionError("a coroutine suspended where nothing may")


def now(work: Callable[[ThreadCalls], Coroutine[Any, Any, _Result]]) -> _Result:
    """Carry out what is called through `ThreadCalls`, and close their loop."""
    calls = ThreadCalls()
    try:
        return drive(work(calls))
    finally:
        calls.close()


def _plainly(function: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401
    try:
        return function(*args)
    except (StopIteration, GeneratorExit) as error:
        raise Carrier(error) from None
