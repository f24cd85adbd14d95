"""The public methods that open a flow, and drain it before a shutdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from aiocheckpoint._model.checks import checked_timeout
from aiocheckpoint._model.state_type import StateT
from aiocheckpoint._runs.draining import close_flow, drain_async, drain_blocking, open_flow
from aiocheckpoint._runs.flow_methods import FlowMethods

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["FlowLifespan"]


class FlowLifespan(FlowMethods[StateT]):
    """Opens a flow for `async with`, and drains it."""

    async def adrain(self, timeout: float | None = None) -> list[str | None]:  # noqa: ASYNC109 - it raises nothing
        """Stop all runs of this flow object behind their current steps, as before a shutdown.

        No new run begins. Each running one finishes its step, is stored as "stopped", and raises
        `DrainingError` in its caller. A run that waits between two attempts at a step ends the
        wait at once, and makes no further attempt. Another process resumes the runs with
        `aresume_all` or with `arun`. Runs of other processes and of other flow objects are left
        alone. A drained flow stays drained, until `async with` opens it again.

        A second call, from any task, loop or thread, waits for the first and returns the same, or
        until its own `timeout`, with the ids left then. While the first one waits, the log names
        every run and step that it waits for, after 5 seconds, and again each time that it has
        waited twice as long.

        A hook of the flow must not await this call, which would wait for the hook's own run. It
        may start the call in a task.

        Args:
            timeout: The most seconds to wait. By default until all runs have stopped.

        Returns:
            The ids of the runs that have not ended when the time is over, or an empty list. A run
            that waits for its lock is among them. Such runs may be cancelled, or end with the
            process: their checkpoints hold the state as it was on entry to the step.

        Raises:
            InvalidTypeError, InvalidValueError: `timeout` is invalid.
            DrainingError: A step or a hook of the flow has called it, and would wait for itself.
        """
        return await drain_async(self._core, _checked_seconds(timeout))

    def drain(self, timeout: float | None = None) -> list[str | None]:
        """Stop all runs as `adrain` does, in scripts, threads and signal handlers.

        In the thread of a run in progress, as in the handler of a signal or in a step under `run`,
        it asks the runs to stop, and returns at once. The same goes for the thread that takes the
        results of `map` and the like, and for a step or a hook of the flow. Elsewhere it waits for
        the runs, as `adrain` does.

        Args:
            timeout: The most seconds to wait, if it waits. By default until all runs have stopped.

        Returns:
            The ids of the runs that have not ended.

        Raises:
            InvalidTypeError, InvalidValueError: `timeout` is invalid.
        """
        return drain_blocking(self._core, _checked_seconds(timeout))

    async def __aenter__(self) -> Self:
        """Open the flow: after a drain, runs may begin again.

        Runs that a drain has stopped stay as they are until they are resumed. One that it left in
        a step still stops behind that step.

        Raises:
            InvalidValueError: Another `async with` block of the flow, or of a copy that shares its
                runs, has not ended.
            StorageError, NoThreadError: After a drain, the handler cannot be closed, to be opened
                anew. The flow stays drained.
        """
        await open_flow(self._core)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Drain the flow as `adrain` does, and close its handler, which the next use opens again.

        A block that ends by a cancellation waits for 5 seconds at most. To limit the wait
        otherwise, call `adrain(timeout=...)` at the end of the block. The handler stays open
        while a run is still in a step, and a database while other flows of this process have
        runs in it.

        Raises:
            DrainingError: The block is in a step or a hook of the flow, and would wait for itself.
            StorageError, NoThreadError: The handler cannot be closed. The flow is drained.
        """
        await close_flow(self._core, error)


def _checked_seconds(timeout: float | None) -> float | None:
    return None if timeout is None else checked_timeout(timeout, least=0.0)
