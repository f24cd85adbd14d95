"""Interrupting the coroutine of a step from another thread or task, and telling who did so.

Under `arun` the task of the run is cancelled. Its cancellations are counted, so that one of the
caller's that comes at the same time is not taken for this one. Under `run` the coroutine has a task
of its own on the private loop.
"""

from __future__ import annotations

import asyncio
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Interrupter", "LoopInterrupter", "TaskInterrupter"]


class Interrupter(Protocol):
    """Interrupts one run."""

    def interrupt(self, may_interrupt: Callable[[], bool]) -> None:
        """Cancel the coroutine that the run awaits, from any thread.

        Args:
            may_interrupt: Called in the thread of the run, in the moment before. If it is false,
                nothing is cancelled.
        """

    def take_back(self) -> bool:
        """Take the cancellation back. Whether the run was cancelled by its caller as well."""
        ...

    def is_cancelled(self) -> bool:
        """Whether the task of the run was cancelled by anybody. Asked in any thread."""
        ...


class TaskInterrupter:
    """Interrupts the current task of the running loop.

    Loop and task are held by weak references, as the run may be abandoned with its loop.
    """

    __slots__ = ("_before", "_loop", "_task", "_was_interrupted")

    def __init__(self) -> None:
        task = asyncio.current_task()
        self._loop = weakref.ref(asyncio.get_running_loop())
        self._task = None if task is None else weakref.ref(task)
        self._before = 0 if task is None else task.cancelling()
        self._was_interrupted = False

    def interrupt(self, may_interrupt: Callable[[], bool]) -> None:
        loop = self._loop()
        if loop is not None:
            with suppress(RuntimeError):  # It was closed meanwhile.
                loop.call_soon_threadsafe(self._interrupt, may_interrupt)

    def take_back(self) -> bool:
        task = self._living_task()
        if task is None:
            return False
        if self._was_interrupted:
            self._was_interrupted = False
            task.uncancel()
        return task.cancelling() > self._before

    def is_cancelled(self) -> bool:
        task = self._living_task()
        return task is not None and task.cancelling() > self._before

    def _interrupt(self, may_interrupt: Callable[[], bool]) -> None:
        task = self._living_task()
        # It is taken back before the run goes on, so that one cancellation is enough.
        if task is not None and not self._was_interrupted and may_interrupt():
            self._was_interrupted = True
            task.cancel()

    def _living_task(self) -> asyncio.Task[object] | None:
        return None if self._task is None else self._task()


class LoopInterrupter:
    """Interrupts the coroutines that run on a private loop, each once.

    Attributes:
        count: The number of interruptions so far.
    """

    __slots__ = ("_interrupted", "_loop", "_may_interrupt", "_task", "count")

    def __init__(self) -> None:
        self.count: int = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[object] | None = None
        self._interrupted: asyncio.Task[object] | None = None
        self._may_interrupt: Callable[[], bool] = _never

    def begin(self) -> None:
        """Note the current task, whose work begins. It may have been interrupted before."""
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._interrupt()

    def interrupt(self, may_interrupt: Callable[[], bool]) -> None:
        self._may_interrupt = may_interrupt  # Before the loop is read: `begin` does the reverse.
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # It was closed meanwhile.
                loop.call_soon_threadsafe(self._interrupt)

    def take_back(self) -> bool:
        return False  # The task has ended, and the caller has none.

    def is_cancelled(self) -> bool:
        return False  # Ctrl-C raises KeyboardInterrupt.

    def _interrupt(self) -> None:
        task = self._task
        if task is None or task.done() or task is self._interrupted or not self._may_interrupt():
            return
        self._interrupted = task
        self.count += 1
        task.cancel()


def _never() -> bool:
    return False
