"""Calls hooks with the progress of a step, in order with the other events of the run.

Under `arun`, and while `run` awaits a coroutine, a task on that loop does so. Under `run`, a sync
step does so itself when it says how far it is. What it has not told is told with the next event.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.backends import run_to_completion

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from contextvars import Context
    from typing import Any

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint.events import StepProgressed

__all__ = ["ProgressForHooks"]


class ProgressForHooks:
    """The newest progress of a step that the hooks have not got yet.

    Args:
        backend: The backend of the run.
        call_hooks: Calls all hooks with an event.
        context: The context of the run at the start of the attempt.
    """

    def __init__(
        self,
        backend: Backend,
        call_hooks: Callable[[StepProgressed], Coroutine[Any, Any, None]],
        context: Context,
    ) -> None:
        self._backend, self._call_hooks, self._context = backend, call_hooks, context
        self._waiting: deque[StepProgressed] = deque(maxlen=1)  # A slow hook misses some.
        self._task: asyncio.Task[None] | None = None
        self._is_handing_over = False

    def keep(self, event: StepProgressed) -> None:
        """Keep an event in place of the one before it, in any thread."""
        self._waiting.append(event)

    def announce(self) -> None:
        """Have the hooks called soon, or at once where this thread may do so. In any thread."""
        loop = self._backend.hook_loop
        if loop is not None:
            with suppress(RuntimeError):  # It was closed under the run.
                loop.call_soon_threadsafe(self._begin, loop, context=self._context)
        elif self._backend.is_here and not self._is_handing_over:
            self._is_handing_over = True
            try:
                run_to_completion(self.hand_over())
            finally:
                self._is_handing_over = False

    async def hand_over(self) -> None:
        """Wait until the hooks have got what they are at, and call them with the newest event."""
        task, before = self._task, self._backend.cancellations()
        if task is not None:
            try:
                await self._backend.executor.await_if_needed(task)
            except CancelledError:
                if self._backend.cancellations() > before:
                    raise  # The run was cancelled, not the task by itself.
        if self._waiting:
            await self._call_hooks(self._waiting.popleft())

    def break_off(self) -> None:
        """Cancel a hook that is at an earlier event. In the thread of the run."""
        if self._task is not None:
            with suppress(RuntimeError):  # Its loop was closed.
                self._task.cancel()

    def close(self) -> None:
        """Call the hooks no more. Their task has ended, unless the coroutine of the run is closed.

        Called in the thread of the run.
        """
        self._waiting.clear()
        self.break_off()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the task on its loop, unless it is at work, or there is nothing left to do."""
        if self._task is None and self._waiting:
            self._task = loop.create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._call_hooks(self._waiting.popleft())
        finally:
            self._task = None
