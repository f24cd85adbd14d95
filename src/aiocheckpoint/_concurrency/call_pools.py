"""What the engine knows of the executor of a step: a pool that carries calls out elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from aiocheckpoint._concurrency.step_threads import StepThreads
    from aiocheckpoint._concurrency.work_items import Threads, WorkItem

__all__ = ["CallPool", "PoolCall"]


class PoolCall:
    """A call for a pool.

    Args:
        function: A function at the top level of a module.
        argument: Its argument.
        seconds: The most seconds for each of its parts, or None. Processes of the library's own
            keep it.
        apart: Whether it is to have an executor of its own, where one is made for it.
    """

    __slots__ = ("apart", "argument", "function", "seconds")

    def __init__(
        self,
        function: Callable[[Any], Any],
        argument: object,
        seconds: float | None = None,
        *,
        apart: bool = False,
    ) -> None:
        self.function: Callable[[Any], Any] = function
        self.argument: object = argument
        self.seconds: float | None = seconds
        self.apart: bool = apart


class CallPool(Protocol):
    """Carries calls out elsewhere: one executor, as the steps of a flow use it.

    Attributes:
        renews: Whether a lost worker or a broken executor is replaced.
    """

    renews: bool

    @property
    def is_cold(self) -> bool:
        """Whether the next call might first make an executor, or start its workers."""
        ...

    @property
    def pickles_by_name(self) -> bool:
        """Whether functions are pickled by their names alone. Known once it is warm."""
        ...

    def warm_up(self) -> None:
        """Make or replace the executor if need be, and let it start what it needs, blocking.

        Raises:
            Exception: A function of the user, or the executor, raised it.
        """

    def note_break(self) -> None:
        """Note that a call was lost with its executor, which is looked at before the next one."""

    def item(
        self, call: PoolCall, loop: asyncio.AbstractEventLoop, step_threads: StepThreads
    ) -> tuple[Threads, WorkItem[Any]]:
        """Make a call awaitable.

        Args:
            call: The call.
            loop: The running loop.
            step_threads: The threads of the flow.

        Returns:
            The work item of the call, and the threads or the executor that it is to be put into.

        Raises:
            Exception: The executor raised it when it was made.
        """
        ...

    def call_here(self, call: PoolCall) -> Any:  # noqa: ANN401
        """Carry a call out while this thread waits.

        Raises:
            Exception: The executor raised it, as at the loss of a worker.
        """

    def close(self) -> None:
        """Close what belongs to the flow, blocking. The next use makes it anew."""
