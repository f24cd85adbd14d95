"""Calls of users' functions: steps, loaders, savers, hooks, `read` and `write` of handlers.

`AsyncExecutor` serves `arun`. It awaits coroutines on the running loop and calls sync functions in
threads, except hooks, which it calls on the loop. `SyncExecutor` serves `run`. It calls sync
functions in the caller's thread and runs coroutines on one private event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from typing import TYPE_CHECKING, Any, Protocol, Self

from aiocheckpoint._concurrency.contexts import adopt_changes
from aiocheckpoint._concurrency.interrupters import LoopInterrupter
from aiocheckpoint._concurrency.private_loop import PrivateLoop
from aiocheckpoint._concurrency.threads import (
    AbandonedCallError,
    LateCancellationError,
    run_in_thread,
    wait_for_item,
)
from aiocheckpoint._concurrency.timeouts import run_with_timeout
from aiocheckpoint._concurrency.work_items import WorkItem
from aiocheckpoint._tracebacks import calls_user_code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from contextlib import AbstractContextManager

    from aiocheckpoint._concurrency.call_pools import CallPool, PoolCall
    from aiocheckpoint._concurrency.callables import UserFunction
    from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
    from aiocheckpoint._concurrency.step_threads import StepThreads

__all__ = [
    "AsyncExecutor",
    "ExceptionEnvelope",
    "FunctionExecutor",
    "SyncExecutor",
    "call_enveloped",
]


class ExceptionEnvelope(Exception):  # noqa: N818 - users never see it
    """Carries an exception of a user's function that has another meaning in a coroutine.

    A coroutine cannot raise StopIteration (PEP 479). GeneratorExit in a coroutine means that the
    coroutine itself is being closed.
    """

    def __init__(self, error: StopIteration | GeneratorExit) -> None:
        super().__init__(error)
        self.error = error


class Trials(Protocol):
    """The attempts at a step, which wait in between."""

    def on_loop(
        self, sleep: Callable[[float], Coroutine[Any, Any, None]]
    ) -> AsyncIterator[AbstractContextManager[None]]:
        """Give the attempts, which wait on the running loop."""
        ...

    def in_thread(self, sleep: Callable[[float], None]) -> Iterator[AbstractContextManager[None]]:
        """Give the attempts, which wait in this thread."""
        ...


class FunctionExecutor(Protocol):
    """Calls users' functions and awaits their results."""

    def call(self, function: UserFunction, *args: Any) -> Coroutine[Any, Any, Any]:  # noqa: ANN401
        """Call a user's function, sync or async, and await its result if it is awaitable.

        Raises:
            LateCancellationError: A cancellation waited for a sync function of a step, which has
                returned.
        """
        ...

    def warm_up(self, pool: CallPool) -> Coroutine[Any, Any, None]:
        """Let a pool make what its next call needs.

        Raises:
            Exception: An error of the pool.
        """
        ...

    def send(self, pool: CallPool, call: PoolCall) -> Coroutine[Any, Any, Any]:
        """Let a pool carry out a call, and await its result.

        Raises:
            LateCancellationError: A cancellation waited for the call, which has returned.
            Exception: An error of the pool.
        """
        ...

    def attempts(
        self, trials: Trials, sleep: Callable[[float], Coroutine[Any, Any, None]]
    ) -> AsyncIterator[AbstractContextManager[None]]:
        """Give the attempts of a step, and wait between them.

        Args:
            trials: The attempts.
            sleep: Waits so many seconds, or until the run is to stop.
        """
        ...

    def call_hook(self, hook: Callable[[Any], object], event: object) -> Coroutine[Any, Any, Any]:
        """Call a hook on the loop or in the caller's thread, and await it if it is awaitable."""
        ...

    def await_if_needed(self, result: Any) -> Coroutine[Any, Any, Any]:  # noqa: ANN401
        """Await `result` if it is awaitable, else return it."""
        ...


class AsyncExecutor:
    """Calls users' functions under a running event loop and never blocks it.

    Args:
        step_threads: The threads for sync functions of the flow.
        store_threads: The threads for blocking calls of its store.

    Attributes:
        step_threads, store_threads: The same.
    """

    __slots__ = ("step_threads", "store_threads")

    def __init__(self, step_threads: StepThreads, store_threads: DaemonThreads) -> None:
        self.step_threads: StepThreads = step_threads
        self.store_threads: DaemonThreads = store_threads

    def call(self, function: UserFunction, *args: Any) -> Coroutine[Any, Any, Any]:  # noqa: ANN401
        if function.on_loop:
            work = self.await_if_needed(call_enveloped(function.function, *args))
        else:
            work = self._call_in_thread(function, args)
        return work if function.timeout is None else run_with_timeout(function.timeout, work)

    async def warm_up(self, pool: CallPool) -> None:
        # Not in threads of the store: a cluster may take long to begin.
        await run_in_thread(self.step_threads, pool.warm_up)

    async def send(self, pool: CallPool, call: PoolCall) -> Any:  # noqa: ANN401
        threads, item = pool.item(call, asyncio.get_running_loop(), self.step_threads)
        try:
            await wait_for_item(threads, item)
        except asyncio.CancelledError as cancellation:
            if not _has_returned(item, cancellation):
                raise
            late = LateCancellationError(cancellation, item.result)
        else:
            return item.outcome()
        raise late  # Outside the except block, so that the cancellation keeps its context.

    def attempts(
        self, trials: Trials, sleep: Callable[[float], Coroutine[Any, Any, None]]
    ) -> AsyncIterator[AbstractContextManager[None]]:
        return trials.on_loop(sleep)

    async def call_hook(self, hook: Callable[[Any], object], event: object) -> None:
        await self.await_if_needed(_call(hook, event))

    @calls_user_code
    async def await_if_needed(self, result: Any) -> Any:  # noqa: ANN401
        """Await `result` if it is awaitable, else return it."""
        if not inspect.isawaitable(result):
            return result
        try:
            return await result
        except GeneratorExit as error:
            # The GeneratorExit of close() on this coroutine has no frame below this one.
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                raise ExceptionEnvelope(error) from None
            raise

    async def _call_in_thread(self, function: UserFunction, args: tuple[Any, ...]) -> Any:  # noqa: ANN401
        threads = self.store_threads if function.belongs_to_handler else self.step_threads
        before = contextvars.copy_context()
        context = before.copy()
        words = (call_enveloped, function.function, *args)
        item: WorkItem[Any] = WorkItem(context.run, words, asyncio.get_running_loop())
        try:
            await wait_for_item(threads, item)
        except asyncio.CancelledError as cancellation:
            adopt_changes(before, context)
            if function.belongs_to_handler or not _has_returned(item, cancellation):
                raise
            late = LateCancellationError(cancellation, item.result)
        else:
            adopt_changes(before, context)
            return await self.await_if_needed(item.outcome())
        raise late  # Outside the except block, so that the cancellation keeps its context.


class SyncExecutor:
    """Calls users' functions in the caller's thread. No call is suspended.

    Attributes:
        interrupter: Interrupts the coroutines.
    """

    def __init__(self) -> None:
        self.interrupter: LoopInterrupter = LoopInterrupter()
        self._private: PrivateLoop | None = None

    async def call(self, function: UserFunction, *args: Any) -> Any:  # noqa: ANN401
        result = call_enveloped(function.function, *args)
        if function.timeout is not None and inspect.isawaitable(result):
            result = run_with_timeout(function.timeout, result)
        return None if result is None else await self.await_if_needed(result)

    async def warm_up(self, pool: CallPool) -> None:
        pool.warm_up()

    async def send(self, pool: CallPool, call: PoolCall) -> Any:  # noqa: ANN401
        return pool.call_here(call)

    @property
    def running_loop(self) -> asyncio.AbstractEventLoop | None:
        """The private loop while it runs a coroutine. Asked in any thread."""
        return None if self._private is None else self._private.running_loop

    def attempts(
        self, trials: Trials, sleep: Callable[[float], Coroutine[Any, Any, None]]
    ) -> AsyncIterator[AbstractContextManager[None]]:
        return _BlockingAttempts(trials.in_thread(lambda seconds: _complete(sleep(seconds))))

    async def call_hook(self, hook: Callable[[Any], object], event: object) -> None:
        await self.await_if_needed(_call(hook, event))

    async def await_if_needed(self, result: Any) -> Any:  # noqa: ANN401
        """Run `result` on the private loop if it is awaitable, else return it."""
        if not inspect.isawaitable(result):
            return result
        if self._private is None:
            self._private = PrivateLoop(self.interrupter)
        elif self._private.is_running_here:
            return await result  # In a task beside the coroutine of a step.
        try:
            return self._private.run(result)
        except GeneratorExit as error:
            raise ExceptionEnvelope(error) from None

    def close(self) -> None:
        """Close the private loop, if there is one."""
        if self._private is not None:
            self._private.close()


class _BlockingAttempts:
    """The attempts of a step. Waiting between them blocks the thread."""

    def __init__(self, each: Iterator[AbstractContextManager[None]]) -> None:
        self._each = each

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AbstractContextManager[None]:
        try:
            return next(self._each)
        except StopIteration:
            raise StopAsyncIteration from None


def _complete(sleep: Coroutine[Any, Any, None]) -> None:
    """Carry out a coroutine that blocks the thread, and does not suspend."""
    try:
        sleep.send(None)
    except StopIteration:
        return
    sleep.close()
    raise AssertionError("a sleep suspended under SyncExecutor")


def _has_returned(item: WorkItem[Any], cancellation: asyncio.CancelledError) -> bool:
    """Whether a function ended without an exception, and left nothing to await."""
    ended = item.ended and item.error is None and not isinstance(cancellation, AbandonedCallError)
    return ended and not inspect.isawaitable(item.result)


@calls_user_code
def call_enveloped(function: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401
    """Call a user's function, and put exceptions with a meaning for coroutines into envelopes."""
    try:
        return function(*args)
    except (StopIteration, GeneratorExit) as error:
        raise ExceptionEnvelope(error) from None


@calls_user_code
def _call(function: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401
    return function(*args)
