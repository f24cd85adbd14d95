"""How users' functions are called: steps, loaders, savers, hooks, a handler's `read` and `write`.

`AsyncExecutor` serves `arun`: coroutines are awaited on the running loop, sync functions run in
threads. `SyncExecutor` serves `run`: sync functions run in the caller's thread, coroutines on one
private event loop.
"""

from __future__ import annotations

import contextvars
import inspect
from typing import TYPE_CHECKING, Any, Protocol, Self

from aiocheckpoint._concurrency.private_loop import PrivateLoop
from aiocheckpoint._concurrency.threads import (
    SNAPSHOTS,
    STEPS,
    finish_before_cancelling,
    run_in_thread,
)
from aiocheckpoint._concurrency.timeouts import run_with_timeout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from contextlib import AbstractContextManager

    from aiocheckpoint._concurrency.callables import UserFunction

__all__ = ["AsyncExecutor", "ExceptionEnvelope", "FunctionExecutor", "SyncExecutor"]


class ExceptionEnvelope(Exception):  # noqa: N818 - carries an exception, is none to be seen
    """Carries an exception of a user's function that has another meaning in a coroutine.

    No coroutine can raise a StopIteration (PEP 479). A GeneratorExit in a coroutine says that the
    coroutine itself is thrown away.
    """

    def __init__(self, error: StopIteration | GeneratorExit) -> None:
        super().__init__(error)
        self.error = error


class FunctionExecutor(Protocol):
    """Calls users' functions and awaits their results."""

    def call(self, function: UserFunction, *args: Any) -> Coroutine[Any, Any, Any]:  # noqa: ANN401
        """Call a user's function, sync or async, and await its result if it can be awaited."""
        ...

    async def call_to_end(self, function: UserFunction, *args: Any) -> None:  # noqa: ANN401
        """Call a user's function that stores something, and keep cancellations out of it."""
        ...

    def attempts(self, trials: Any) -> AsyncIterator[AbstractContextManager[None]]:  # noqa: ANN401
        """Give the attempts of a step, and wait between them.

        Args:
            trials: Iterable both by `for` and by `async for`, as `stamina.retry_context` is.
        """
        ...

    async def finish(self, result: Any) -> Any:  # noqa: ANN401
        """Await `result` if it can be awaited, else give it back."""
        ...


class AsyncExecutor:
    """Calls users' functions from within a running event loop, which they never block."""

    __slots__ = ()

    def call(self, function: UserFunction, *args: Any) -> Coroutine[Any, Any, Any]:  # noqa: ANN401
        if function.on_loop:
            work = self.finish(_call_enveloped(function.function, *args))
        else:
            work = self._call_in_thread(function, args)
        return work if function.limit is None else run_with_timeout(function.limit, work)

    async def call_to_end(self, function: UserFunction, *args: Any) -> None:  # noqa: ANN401
        await finish_before_cancelling(self.call(function, *args))

    def attempts(self, trials: Any) -> AsyncIterator[AbstractContextManager[None]]:  # noqa: ANN401
        each: AsyncIterator[AbstractContextManager[None]] = aiter(trials)
        return each

    async def finish(self, result: Any) -> Any:  # noqa: ANN401
        if not inspect.isawaitable(result):
            return result
        try:
            return await result
        except GeneratorExit as error:
            # A GeneratorExit that close() throws into this coroutine has no frame below this one.
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                raise ExceptionEnvelope(error) from None
            raise

    async def _call_in_thread(self, function: UserFunction, args: tuple[Any, ...]) -> Any:  # noqa: ANN401
        pool = SNAPSHOTS if function.stores else STEPS
        context = contextvars.copy_context()
        result = await run_in_thread(pool, context.run, _call_enveloped, function.function, *args)
        return await self.finish(result)


class SyncExecutor:
    """Calls users' functions in the caller's thread; each call has ended when it returns."""

    def __init__(self) -> None:
        self._private: PrivateLoop | None = None

    async def call(self, function: UserFunction, *args: Any) -> Any:  # noqa: ANN401
        result = _call_enveloped(function.function, *args)
        if function.limit is not None and inspect.isawaitable(result):
            result = run_with_timeout(function.limit, result)
        return None if result is None else await self.finish(result)

    async def call_to_end(self, function: UserFunction, *args: Any) -> None:  # noqa: ANN401
        await self.call(function, *args)

    def attempts(self, trials: Any) -> AsyncIterator[AbstractContextManager[None]]:  # noqa: ANN401
        return _BlockingAttempts(trials)

    async def finish(self, result: Any) -> Any:  # noqa: ANN401
        if not inspect.isawaitable(result):
            return result
        if self._private is None:
            self._private = PrivateLoop()
        return _call_enveloped(self._private.run, result)

    def close(self) -> None:
        """Close the loop that coroutines made necessary."""
        if self._private is not None:
            self._private.close()


class _BlockingAttempts:
    """The attempts of a step, with waiting that blocks the thread."""

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
