"""The limiters of steps: `limiter=`, which is held for one attempt."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from asyncio import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.executors import ExceptionEnvelope, call_enveloped
from aiocheckpoint._concurrency.threads import prefer_cancellation
from aiocheckpoint._engine.around import exit_args
from aiocheckpoint._engine.context import DrainedError
from aiocheckpoint._logging import log, place_of
from aiocheckpoint._model.limiter import checked_manager, is_manager
from aiocheckpoint._model.termination import ENDS_OF_STEPS
from aiocheckpoint._tracebacks import drop_frames_of_engine
from aiocheckpoint.errors import DrainingError, FlowDefinitionError

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextlib import AbstractAsyncContextManager

    from aiocheckpoint._engine.context import RunContext, StepProgress
    from aiocheckpoint._model.steps import Step

__all__ = ["check_limiters", "hold_limiter"]


def check_limiters(context: RunContext) -> None:
    """Refuse a run without an event loop, in which nothing can wait for a limiter.

    Raises:
        FlowDefinitionError: A step of the flow has a limiter.
    """
    if context.backend.loop is None and (name := context.steps.limited) is not None:
        raise FlowDefinitionError(
            f"step {name!r} has a limiter=, for which runs on one event loop wait, and run() and "
            "resume() call the steps in your own thread. Use `await cp.arun(...)`, in a script "
            "asyncio.run(cp.arun(...)).",
            step=name,
        )


async def hold_limiter(
    context: RunContext,
    step: Step,
    progress: StepProgress,
    state: dict[str, Any],
    work: Coroutine[Any, Any, None],
) -> None:
    """Await an attempt while the limiter of its step is held.

    The limiter swallows no exception. A cancellation that comes while it is left, and the step is
    done, is raised behind the snapshot.

    Args:
        context: The run.
        step: The step.
        progress: The position in the step.
        state: The state, for a limiter that is a function of it.
        work: The attempt.

    Raises:
        DrainedError: The flow was drained before the attempt.
        BaseException: The exception of the limiter or of the attempt.
    """
    part, progress.part = progress.part, "limiter"
    limiter = _HeldLimiter(context, step)
    try:
        await limiter.enter(state)
        progress.part, progress.began = part, time.perf_counter()
        await work
    except GeneratorExit as error:
        work.close()
        limiter.close(error)
        raise
    except BaseException as error:
        work.close()
        await limiter.leave_broken(error)
        raise
    progress.part = "limiter"
    progress.cancellation = await limiter.leave() or progress.cancellation


class _HeldLimiter:
    """The limiter of one attempt.

    Args:
        context: The run.
        step: The step.
    """

    __slots__ = ("_backend", "_is_held", "_manager", "_place", "_run", "_step")

    def __init__(self, context: RunContext, step: Step) -> None:
        self._backend, self._run = context.backend, context.active_run
        self._place = place_of(context.settings.flow, context.run_id)
        self._step = step
        self._is_held = False
        self._manager: AbstractAsyncContextManager[Any]

    async def enter(self, state: dict[str, Any]) -> None:
        """Wait until it is entered, or the flow is drained.

        Raises:
            DrainedError: The flow is drained.
            asyncio.CancelledError: The run was cancelled or terminated.
        """
        # Entered in the task of the run, since a limiter may know its holder by the task.
        waiting, active_runs = asyncio.timeout(None), self._run.active_runs

        def stop_waiting() -> None:
            with suppress(RuntimeError):  # The wait has ended meanwhile.
                waiting.reschedule(0.0)  # A time in the past: ends the wait at once.

        self._run.allow_interruption()
        try:
            self._manager = self._find(state)
            with active_runs.on_drain(stop_waiting):
                async with waiting:
                    kind = type(self._manager)
                    await self._await(call_enveloped(kind.__aenter__, self._manager))
                    self._is_held = True
        except ENDS_OF_STEPS as end:
            raise _no_end(self._step, end) from end
        except (TimeoutError, DrainingError):
            if not active_runs.drain_requested:
                raise
        finally:
            self._run.is_interruptible = False
        if active_runs.drain_requested:
            raise DrainedError

    async def leave(self) -> CancelledError | None:
        """Leave it behind an attempt that succeeded.

        Returns:
            A cancellation of the run that came meanwhile.
        """
        before = self._backend.cancellations()
        try:
            await self._exit(None)
        except CancelledError as caught:
            if self._backend.cancellations() > before:
                return caught
            raise
        except ENDS_OF_STEPS as end:
            raise _no_end(self._step, end) from end
        return None

    async def leave_broken(self, error: BaseException) -> None:
        """Leave it behind an attempt that failed, whose exception is the one that users see.

        Raises:
            asyncio.CancelledError: The run was cancelled meanwhile.
        """
        if not self._is_held:
            return
        error = error.error if isinstance(error, ExceptionEnvelope) else error
        before, traceback = self._backend.cancellations(), error.__traceback__
        try:
            await self._exit(error)
        except CancelledError as caught:
            if self._backend.cancellations() > before:
                prefer_cancellation(caught, error)
        except (Exception, *ENDS_OF_STEPS) as raised:  # noqa: BLE001 - logged
            self._log(raised, of=error)
        # `raise` in an `__aexit__` adds to it. The class may have a method of its own.
        BaseException.with_traceback(error, traceback)

    def close(self, error: GeneratorExit) -> None:
        """Leave it in a coroutine that is being closed, as far as it awaits nothing."""
        if not self._is_held:
            return
        with suppress(Exception):
            work = call_enveloped(type(self._manager).__aexit__, self._manager, *exit_args(error))
            if inspect.iscoroutine(work):
                try:
                    work.send(None)
                finally:
                    work.close()

    def _find(self, state: dict[str, Any]) -> AbstractAsyncContextManager[Any]:
        limiter: Any = self._step.limiter
        if not is_manager(limiter):
            limiter = call_enveloped(limiter, state)
        return checked_manager(limiter, self._step.name)

    async def _exit(self, error: BaseException | None) -> None:
        kind = type(self._manager)
        await self._await(call_enveloped(kind.__aexit__, self._manager, *exit_args(error)))

    async def _await(self, work: object) -> None:
        await self._backend.executor.await_if_needed(work)

    def _log(self, raised: BaseException, *, of: BaseException) -> None:
        if raised is of:
            return  # It hands on the exception of the attempt.
        drop_frames_of_engine(raised)
        if raised.__context__ is of:
            raised.__context__ = None  # The text of the step's exception is no concern of the log.
        words = "limiter= of step %r raised an exception when it was left, behind a failed attempt."
        log(logging.ERROR, self._place, words, self._step.name, error=raised)


def _no_end(step: Step, end: BaseException) -> FlowDefinitionError:
    return FlowDefinitionError(
        f"the limiter of step {step.name!r} raised {type(end).__name__}, and only a step may end "
        "its run so. Raise it in the step itself.",
        step=step.name,
    )
