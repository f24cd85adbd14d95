"""One active run, as a drain of its flow knows it, and a request to terminate it."""

from __future__ import annotations

import asyncio
import weakref
from threading import TIMEOUT_MAX, get_ident
from typing import TYPE_CHECKING, Protocol

from aiocheckpoint._concurrency.loops import is_gone
from aiocheckpoint._concurrency.pending_results import PendingResult, deliver

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._concurrency.interrupters import Interrupter
    from aiocheckpoint._model.followers import StepFacts

__all__ = ["ActiveRun", "Cursors", "RunRegistry"]


class RunRegistry(Protocol):
    """The active runs of a flow, in one of its lifespans."""

    @property
    def drain_requested(self) -> bool:
        """Whether they are to stop, and no new one may begin."""
        ...

    def check(self) -> None:
        """Raise DrainingError if no run may begin."""
        ...

    def on_drain(self, callback: Callable[[], object]) -> AbstractContextManager[None]:
        """Call `callback` on the running loop when a drain is requested inside the block.

        Raises:
            DrainingError: A drain was requested before.
        """
        ...

    def enter(self, run: ActiveRun) -> None:
        """Register a run that begins.

        Raises:
            DrainingError: No run may begin.
        """
        ...

    def leave(self, run: ActiveRun) -> None:
        """Remove a run that has ended."""
        ...


class Cursors(Protocol):
    """Keeps the cursors of a run."""

    def store_new(self) -> Callable[[], None] | None:
        """Store a new cursor, or begin to. Give a function that waits for the end of it."""
        ...


class ActiveRun:
    """A run among the active runs of its flow.

    Loop and task are held by weak references. A run whose loop was closed under it is then
    collected with its task, which releases its lock, although the flow lives on.

    Args:
        active_runs: The active runs that it belongs to.
        run_id: Its id.

    Attributes:
        active_runs, run_id: The same.
        loop, task: Give its event loop and task, or None where it has none or they are gone.
        thread: The thread that carries it, by `threading.get_ident`.
        is_async: Whether it runs on a loop.
        has_lock: Whether it has the lock of its run, and so is no call that waits for it.
        is_interruptible: Whether a termination may cancel what it awaits.
        progress: The step that it is in, or None.
        termination_reason: The reason for which it is to be terminated, or None.
        cursors: Keeps the cursors of its steps, once its lock is taken. Or None.
    """

    __slots__ = (
        "__weakref__",
        "_interrupter",
        "_sleeping",
        "active_runs",
        "cursors",
        "has_lock",
        "is_async",
        "is_interruptible",
        "loop",
        "progress",
        "run_id",
        "task",
        "termination_reason",
        "thread",
    )

    def __init__(self, active_runs: RunRegistry, run_id: str | None) -> None:
        self.active_runs: RunRegistry = active_runs
        self.run_id: str | None = run_id
        self.loop: Callable[[], asyncio.AbstractEventLoop | None] = _nothing
        self.task: Callable[[], asyncio.Task[object] | None] = _nothing
        self.thread: int = 0
        self.is_async: bool = False
        self.has_lock: bool = False
        self.is_interruptible: bool = False
        self.progress: StepFacts | None = None
        self.termination_reason: str | None = None
        self.cursors: Cursors | None = None
        self._interrupter: Interrupter | None = None
        self._sleeping: dict[PendingResult[None], None] | None = None

    def note_place(self) -> None:
        """Note the thread, the loop and the task in which it begins."""
        self.thread = get_ident()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # No loop runs here.
        task = asyncio.current_task()
        self.loop, self.is_async = weakref.ref(loop), True
        if task is not None:
            self.task = weakref.ref(task)

    @property
    def stop_requested(self) -> bool:
        """Whether it is to stop behind its step, and to make no further attempt at it."""
        return self.termination_reason is not None or self.active_runs.drain_requested

    @property
    def drains(self) -> bool:
        """Whether it is stopped by a drain, and not terminated."""
        return self.active_runs.drain_requested and self.termination_reason is None

    @property
    def is_abandoned(self) -> bool:
        """Whether its loop was closed under it, or is gone."""
        return self.is_async and is_gone(self.loop)

    def note_interrupter(self, backend: Backend) -> None:
        """Note that it has its lock, and can be terminated, in the task that carries it."""
        self._interrupter = backend.interrupter()

    def terminate(self, reason: str) -> None:
        """Let it end for good: a coroutine of its step is cancelled. In any thread.

        The first reason stays. A later call may reach a coroutine that has begun since.
        """
        if self.termination_reason is None:
            self.termination_reason = reason
        self.wake()
        if self._interrupter is not None:
            self._interrupter.interrupt(self._may_be_interrupted)

    def take_back_interruption(self) -> bool:
        """Take back its cancellation, if there was one. Whether its caller has cancelled it too."""
        return self._interrupter is not None and self._interrupter.take_back()

    @property
    def is_cancelled(self) -> bool:
        """Whether its task was cancelled, by its caller or a termination. Asked in any thread."""
        return self._interrupter is not None and self._interrupter.is_cancelled()

    def allow_interruption(self) -> None:
        """Let a termination cancel what it awaits, until `is_interruptible` is cleared.

        That is the wait for a limiter, and a loader, step or saver. Hooks, managers of `around=`
        and the leave of a limiter are awaited to their end, so that nothing is left half-way.

        Raises:
            asyncio.CancelledError: It is to be terminated already.
        """
        if self.termination_reason is not None:
            raise asyncio.CancelledError
        self.is_interruptible = True

    def _may_be_interrupted(self) -> bool:
        return self.is_interruptible

    async def sleep(self, backend: Backend, seconds: float) -> None:
        """Wait between two attempts. A request to stop ends the wait at once.

        Args:
            backend: The backend of the run.
            seconds: The most seconds to wait.
        """
        pending: PendingResult[None] = PendingResult(None, backend.loop)
        self._sleeping = sleeping = {pending: None}
        try:
            if not self.stop_requested:  # Looked at behind the note above, as `wake` comes later.
                await backend.wait_at_most(pending, min(seconds, TIMEOUT_MAX))
        finally:
            self._sleeping = None
            sleeping.clear()

    def wake(self) -> None:
        """End its sleep between two attempts. Called behind a request to stop, in any thread."""
        sleeping = self._sleeping
        if not sleeping:
            return
        try:
            pending, _ = sleeping.popitem()  # Of two callers one gets it.
        except KeyError:
            return
        deliver([pending])


def _nothing() -> None:
    return None
