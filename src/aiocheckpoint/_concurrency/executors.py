"""Calls of users' functions: steps, loaders, savers, hooks, `read` and `write` of handlers.

`AsyncExecutor` serves `arun`. It awaits coroutines on the running loop and calls sync functions in
threads, except hooks, which it calls on the loop. `SyncExecutor` serves `run`. It calls sync
functions in the caller's thread and runs coroutines on one private event loop.
"""

from __future__ import annotations

import contextvars
import inspect
from typing import TYPE_CHECKING, Any, Protocol, Self

from aiocheckpoint._concurrency.private_loop import PrivateLoop
from aiocheckpoint._concurrency.threads import (
    SNAPSHOTS,
    finish_before_cancelling,
    run_in_thread,
)
from aiocheckpoint._concurrency.timeouts import run_with_timeout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from contextlib import AbstractContextManager

    from aiocheckpoint._concurrency.callables import UserFunction
    from aiocheckpoint._concurrency.step_threads import StepThreads

__all__ = ["AsyncExecutor", "ExceptionEnvelope", "FunctionExecutor", "SyncExecutor"]


class ExceptionEnvelope(Exception):  # noqa: N818 - users never see it
    """Carries an exception of a user's function that has another meaning in a coroutine.

    A coroutine cannot raise StopIteration (PEP 479). GeneratorExit in a coroutine means that the
    coroutine itself is being closed.
    """

    def __init__(self, error: StopIteration | GeneratorExit) -> None:
        super().__init__(error)
        self.error = error


class FunctionExecutor(Protocol):
    """Calls users' functions and awaits their results."""

    def call(self, function: UserFunction, *args: Any) -> Coroutine[Any, Any, Any]:  # noqa: ANN401
        """Call a user's function, sync or async, and await its result if it is awaitable."""
        ...

    async def call_to_end(self, function: UserFunction, *args: Any) -> None:  # noqa: ANN401
        """Call a user's function that stores something, and let no cancellation interrupt it."""
        ...

    def attempts(self, trials: Any) -> AsyncIterator[AbstractContextManager[None]]:  # noqa: ANN401
        """Give the attempts of a step, and wait between them.

        Args:
            trials: An iterable for both `for` and `async for`, such as `stamina.retry_context`.
        """
        ...

    def call_hook(self, hook: Callable[[Any], object], event: object) -> Coroutine[Any, Any, Any]:
        """Call a hook on the loop or in the caller's thread, and await it if it is awaitable."""
        ...


class AsyncExecutor:
    """Calls users' functions under a running event loop and never blocks it.

    Args:
        step_threads: The threads for sync functions of the flow.

    Attributes:
        step_threads: The same.
    """

    __slots__ = ("step_threads",)

    def __init__(self, step_threads: StepThreads) -> None:
        self.step_threads: StepThreads = step_threads

    def call(self, function: UserFunction, *args: Any) -> Coroutine[Any, Any, Any]:  # noqa: ANN401
        if function.on_loop:
            work = self.await_if_needed(_call_enveloped(function.function, *args))
        else:
            work = self._call_in_thread(function, args)
        return work if function.timeout is None else run_with_timeout(function.timeout, work)

    async def call_to_end(self, function: UserFunction, *args: Any) -> None:  # noqa: ANN401
        await finish_before_cancelling(self.call(function, *args))

    def attempts(self, trials: Any) -> AsyncIterator[AbstractContextManager[None]]:  # noqa: ANN401
        each: AsyncIterator[AbstractContextManager[None]] = aiter(trials)
        return each

    async def call_hook(self, hook: Callable[[Any], object], event: object) -> None:
        await self.await_if_needed(hook(event))

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
        threads = SNAPSHOTS if function.belongs_to_handler else self.step_threads
        call = contextvars.copy_context().run
        result = await run_in_thread(threads, call, _call_enveloped, function.function, *args)
        return await self.await_if_needed(result)


class SyncExecutor:
    """Calls users' functions in the caller's thread. No call is suspended."""

    def __init__(self) -> None:
        self._private: PrivateLoop | None = None

    async def call(self, function: UserFunction, *args: Any) -> Any:  # noqa: ANN401
        result = _call_enveloped(function.function, *args)
        if function.timeout is not None and inspect.isawaitable(result):
            result = run_with_timeout(function.timeout, result)
        return None if result is None else await self.await_if_needed(result)

    async def call_to_end(self, function: UserFunction, *args: Any) -> None:  # noqa: ANN401
        await self.call(function, *args)

    def attempts(self, trials: Any) -> AsyncIterator[AbstractContextManager[None]]:  # noqa: ANN401
        return _BlockingAttempts(trials)

    async def call_hook(self, hook: Callable[[Any], object], event: object) -> None:
        await self.await_if_needed(hook(event))

    async def await_if_needed(self, result: Any) -> Any:  # noqa: ANN401
        """Run `result` on the private loop if it is awaitable, else return it."""
        if not inspect.isawaitable(result):
            return result
        if self._private is None:
            self._private = PrivateLoop()
        return _call_enveloped(self._private.run, result)

    def close(self) -> None:
        """Close the private loop, if there is one."""
        if self._private is not None:
            self._private.close()


class _BlockingAttempts:
    """The attempts of a step. Waiting between them blocks the thread."""

    def __init__(self, trials: Any) -> None:  # noqa: ANN401
        self._each: Iterator[AbstractContextManager[None]] = iter(trials)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AbstractContextManager[None]:
        try:
            return next(self._each)
        except StopIteration:
            raise StopAsyncIteration from None


def _call_enveloped(function: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401
    try:
        return function(*args)
    except (StopIteration, GeneratorExit) as error:
        raise ExceptionEnvelope(error) from None
