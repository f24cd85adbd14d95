"""The executor of many calls, which a function of the user makes anew when it broke."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint._tracebacks import calls_user_code
from aiocheckpoint.errors import InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from concurrent.futures import Executor, Future

__all__ = ["Generation", "RenewedExecutor"]


class Generation:
    """One executor, from its making until it breaks.

    A broken one fails all its calls, those as well that have not begun. Their callers settle
    together which of them may have broken it.

    Args:
        executor: The executor.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor: Executor = executor
        self._in_flight: set[Hashable] = set()
        self._any_begun = False
        self._settled = asyncio.Event()

    @property
    def tells_begin(self) -> bool:
        """Whether a future tells that its call has begun. Those of Dask are pending to the end."""
        return not type(self.executor).__module__.startswith("distributed.")

    def enter(self, call: Hashable) -> None:
        """Count a call that is submitted."""
        self._in_flight.add(call)

    def leave(self, call: Hashable) -> None:
        """Count a call no more: it has ended, or was lost."""
        self._in_flight.discard(call)
        if not self._in_flight:
            self._settled.set()

    async def is_suspect(self, call: Hashable, *, has_begun: bool) -> bool:
        """Wait for the other calls that were lost with this one, and say whether it may be why.

        Args:
            call: The call.
            has_begun: Whether it had begun. Where none had, each is a suspect.
        """
        self._any_begun = self._any_begun or has_begun
        self._settled.clear()
        self.leave(call)
        await self._settled.wait()
        return has_begun or not self._any_begun


class RenewedExecutor:
    """An executor that was given, or one that a function makes.

    Args:
        given: The executor, or the function.
        run_blocking: Calls a function in a thread of the library, and is awaited.
    """

    def __init__(
        self, given: Executor | Callable[[], Executor], run_blocking: Callable[..., Any]
    ) -> None:
        self._given: Any = given
        self._run_blocking = run_blocking
        self._lock = asyncio.Lock()
        self._generation: Generation | None = None
        self.renews: bool = not callable(getattr(given, "submit", None)) or isinstance(given, type)

    async def generation(self) -> Generation:
        """Give the executor, made now if there is none.

        Raises:
            InvalidTypeError: The function has returned something else.
            BaseException: The function raised it.
        """
        async with self._lock:
            if self._generation is None:
                executor = await self._run_blocking(self._make) if self.renews else self._given
                self._generation = Generation(executor)
            return self._generation

    async def submit(
        self, generation: Generation, function: Callable[..., Any], argument: object
    ) -> Future[Any]:
        """Submit a call, in a thread: an executor may start processes now, or block.

        Raises:
            BaseException: The executor raised it.
        """
        context = copy_context()  # Engines read annotations there.
        future: Future[Any] = await self._run_blocking(
            context.run, generation.executor.submit, function, argument
        )
        return future

    async def drop(self, generation: Generation) -> None:
        """Let the next call have another executor than this broken one."""
        if self._generation is generation:
            self._generation = None
            await self._shut_down(generation, wait=False)

    async def close(self) -> None:
        """Shut down what the function has made last. Its calls have ended."""
        generation, self._generation = self._generation, None
        if self.renews and generation is not None:
            await self._shut_down(generation, wait=True)

    async def _shut_down(self, generation: Generation, *, wait: bool) -> None:
        await self._run_blocking(partial(generation.executor.shutdown, wait=wait))

    @calls_user_code
    def _make(self) -> Executor:
        made: Any = self._given()
        if not callable(getattr(made, "submit", None)):
            raise InvalidTypeError(
                "the function given as executor= is to return an executor of concurrent.futures, "
                f"not a {type(made).__name__}."
            )
        executor: Executor = made
        return executor
