"""The active runs of a flow from its opening to its drain, and the request to stop them."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.loop_signal import LoopSignal
from aiocheckpoint._concurrency.loop_thread import thread_served_by
from aiocheckpoint._concurrency.step_threads import StepThreads
from aiocheckpoint._concurrency.waiting_room import wake_everyone
from aiocheckpoint._engine.active_run import ActiveRun
from aiocheckpoint._engine.draining import Drain
from aiocheckpoint._model.current_step import step_inside
from aiocheckpoint.errors import DrainingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["ActiveRuns", "is_of_drain"]

_has_drained = False
"""Whether a flow of this process was drained. A run that the drain has left stops later."""


def is_of_drain(error: BaseException) -> bool:
    """Whether a step ended because this process drains: a flow that the step runs was drained."""
    if not _has_drained:
        return False
    if isinstance(error, BaseExceptionGroup):
        return error.split(_is_of_run)[1] is None
    return _is_of_run(error)


def _is_of_run(error: BaseException) -> bool:
    return isinstance(error, DrainingError) and error.of_run


class ActiveRuns:
    """Knows the active runs of one lifespan of a flow, on all loops and threads, and drains them.

    It holds callbacks by weak references.

    Args:
        flow: Name of the flow.
        threads: How many sync functions of the flow run at once on one event loop.

    Attributes:
        drain_requested: Whether running runs are to stop, and no new one may begin.
        drain: The wait for their end.
        step_threads: The threads of the flow's sync functions under `arun`.
    """

    def __init__(self, flow: str, threads: int) -> None:
        self.drain_requested: bool = False
        self.step_threads: StepThreads = StepThreads(threads)
        self.drain: Drain = Drain(flow, self.living, give_up=self.step_threads.abandon)
        self._flow = flow
        self._runs: dict[ActiveRun, None] = {}
        self._drain_signal = LoopSignal()
        self._on_ends: dict[Callable[[], object], None] = {}

    @property
    def is_over(self) -> bool:
        """Whether the flow is drained: its runs have ended, or a drain has given up the rest."""
        return self.drain_requested and (self.drain.has_ended or not self.living())

    def on_ends(self, callback: Callable[[], object]) -> None:
        """Call `callback` whenever a run or the drain has ended, in any thread."""
        self._on_ends[callback] = None

    def forget(self, callback: Callable[[], object]) -> None:
        """Call `callback` no more. It may be gone already."""
        self._on_ends.pop(callback, None)

    def tell_end(self) -> None:
        """Make the calls of `on_ends`."""
        for callback in list(self._on_ends):
            callback()

    def check(self) -> None:
        """Raise DrainingError if no run may begin."""
        if self.drain_requested:
            raise DrainingError(self._flow)

    def on_drain(self, callback: Callable[[], object]) -> AbstractContextManager[None]:
        """Call `callback` on the running loop when a drain is requested inside the block.

        Raises:
            DrainingError: A drain was requested before.
        """
        # `drain_requested` is read once it listens, as in `enter`.
        return self._drain_signal.listening(callback, self.check)

    def enter(self, run: ActiveRun) -> None:
        """Register a run that begins.

        Raises:
            DrainingError: No run may begin.
        """
        run.note_place()
        # Before reading `drain_requested`: `request_drain` sets it, then reads this.
        self._runs[run] = None
        if self.drain_requested:
            self.leave(run)
            raise DrainingError(self._flow)

    def leave(self, run: ActiveRun) -> None:
        """Remove a run that has ended."""
        del self._runs[run]
        if self.drain_requested and not self._runs:
            self.drain.wake()
        if self._on_ends:
            self.tell_end()

    def living(self) -> list[ActiveRun]:
        """The runs that can still end by themselves: their loop is not closed."""
        # Not `items()`: the garbage collector may come between, and end a run.
        return [run for run in list(self._runs) if not run.is_abandoned]

    def request_drain(self) -> bool:
        """Let no run begin, and active ones stop behind their steps. Return at once.

        A signal handler may call it in the midst of any line.

        Returns:
            Whether this is the first request.
        """
        if self.drain_requested:
            return False
        _note_drain(drained=True)
        self.drain_requested = True
        wake_everyone()  # Also the calls that wait for a run. Those of other flows wait again.
        for run in list(self._runs):
            run.wake()
        self._drain_signal.notify()
        self.tell_end()  # No run may be there to end.
        return True

    def check_outside(self) -> None:
        """Raise DrainingError if the current task must not wait for a drain.

        Raises:
            DrainingError: It is one of the runs that the drain waits for, or a step of one.
        """
        step = step_inside(self._flow)
        if step is not None and not self._is_outside_runs():
            problem = f"adrain() in its own step {step!r} would wait for itself"
            raise DrainingError(self._flow, problem=problem)
        if self._is_run():
            problem = "adrain() in a hook of its own run would wait for itself. Start it in a task"
            raise DrainingError(self._flow, problem=problem)

    def needs_this_thread(self) -> bool:
        """Whether a run can end only if this thread goes on, or a drain waits in it already."""
        thread = get_ident()
        if self.drain.waits_in(thread) or step_inside(self._flow) is not None:
            return True
        # Of `map` and the like, the runs are in a thread of their own, and this one waits for them.
        return any(thread in {run.thread, thread_served_by(run.loop())} for run in self.living())

    def _is_run(self) -> bool:
        try:
            task = asyncio.current_task()
        except RuntimeError:
            return False
        return task is not None and any(run.task() is task for run in list(self._runs))

    def _is_outside_runs(self) -> bool:
        """Whether the current task is none of the runs, on a loop that has runs.

        A signal handler called in the middle of a step has the context of that step, and so has
        each task that it starts.
        """
        here = ActiveRun(self, None)
        here.note_place()
        runs = [run for run in list(self._runs) if run.loop() is here.loop()]
        return bool(runs) and all(run.task() is not here.task() for run in runs)


def _note_drain(*, drained: bool) -> None:
    global _has_drained  # noqa: PLW0603
    _has_drained = drained


if hasattr(os, "register_at_fork"):  # The drain is the parent's.
    os.register_at_fork(after_in_child=partial(_note_drain, drained=False))
