"""The executors of one call for many runs: each from its making until it breaks."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.renewed_executor import RenewedExecutor, tells_begin

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from concurrent.futures import Executor, Future

__all__ = ["Generation", "Generations"]


class Generation:
    """One executor, from its making until it breaks.

    A broken one fails all its calls, those as well that have not begun. Their callers settle
    together which of them may have broken it.

    Args:
        executor: The executor.

    Attributes:
        executor: The same.
        tells_begin: Whether a future tells that its call has begun.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor: Executor = executor
        self.tells_begin: bool = tells_begin(executor)
        self._in_flight: set[Hashable] = set()
        self._any_begun = False
        self._settled = asyncio.Event()

    def enter(self, call: Hashable) -> None:
        """Count a call that is submitted."""
        self._in_flight.add(call)

    def leave(self, call: Hashable) -> None:
        """Count a call no more: it has ended, or was lost."""
        self._in_flight.discard(call)
        if not self._in_flight:
            self._settled.set()

    async def settle(self, call: Hashable, *, has_begun: bool) -> bool:
        """Wait until all calls of the broken executor are lost, and settle which may be the cause.

        Args:
            call: The call.
            has_begun: Whether it had begun.

        Returns:
            Whether this call may be the cause: it had begun, or none had.
        """
        self._any_begun = self._any_begun or has_begun
        self._settled.clear()
        self.leave(call)
        await self._settled.wait()
        return has_begun or not self._any_begun


class Generations:
    """An executor that was given, or those that a function makes, one after the other.

    Args:
        given: The executor, or the function.
        run_blocking: Calls a function in a thread of the library, and is awaited. An executor may
            start processes when it is made and at each call, or block.

    Attributes:
        renews: Whether a broken executor is made anew.
    """

    def __init__(
        self, given: Executor | Callable[[], Executor], run_blocking: Callable[..., Any]
    ) -> None:
        self._executor = RenewedExecutor(given)
        self._run_blocking = run_blocking
        self._lock = asyncio.Lock()
        self._last: Generation | None = None
        self.renews: bool = self._executor.renews

    async def last(self) -> Generation:
        """Give the executor, made now if there is none.

        Raises:
            ExecutorError, InvalidTypeError: It cannot be used.
            BaseException: The function raised it.
        """
        async with self._lock:
            if self._last is None:
                self._last = Generation(await self._run_blocking(self._executor.take))
            return self._last

    async def submit(
        self, generation: Generation, function: Callable[..., Any], argument: object
    ) -> Future[Any]:
        """Submit a call.

        Args:
            generation: The executor.
            function: The function to call there.
            argument: Its argument.

        Raises:
            ExecutorError: The executor takes no calls.
            BaseException: The executor raised it.
        """
        context = copy_context()  # Engines read annotations there.
        future: Future[Any] = await self._run_blocking(
            context.run, self._executor.submit, generation.executor, function, argument
        )
        return future

    async def drop(self, generation: Generation) -> None:
        """Let the next call have another executor than this broken one."""
        if self._last is generation:
            self._last = None
            await self._run_blocking(self._executor.drop, generation.executor)

    async def close(self) -> None:
        """Shut down what the function has made last. Its calls have ended."""
        self._last = None
        await self._run_blocking(partial(self._executor.close, wait=True))
