"""The only loop over steps. It runs those of a plan, and stores a snapshot behind each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint._engine.active_runs import is_of_drain
from aiocheckpoint._engine.attempts import attempt_repeatedly, begin_attempt
from aiocheckpoint._engine.context import DrainedError, StepProgress
from aiocheckpoint._engine.ended_by_hand import end_by_hand, end_step_by_hand
from aiocheckpoint._engine.lost_transactions import prepare_repeat
from aiocheckpoint._engine.outcomes import end_failed, end_paused, end_stopped
from aiocheckpoint._engine.shared_ends import RunEnd, SharedFailure
from aiocheckpoint._engine.termination import end_terminated
from aiocheckpoint._model.current_step import CURRENT
from aiocheckpoint._model.pause import Pause
from aiocheckpoint._model.termination import Terminate, end_of_step
from aiocheckpoint._snapshot.keys import (
    check_reserved_keys,
    drop_position,
    has_reserved_keys,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiocheckpoint._engine.context import RunContext
    from aiocheckpoint._engine.opening import Opening
    from aiocheckpoint._model.header import Status
    from aiocheckpoint._model.plan import Plan
    from aiocheckpoint.errors import DrainingError

__all__ = ["StepLoop"]


class StepLoop:
    """Runs the steps of one run.

    Args:
        context: The run.
        opening: Knows the number of the first attempt.
        write: Stores a snapshot.

    Attributes:
        end: How the run has ended by the exception of a step, for the calls that wait for it. None
            where these have to run for themselves.
    """

    def __init__(
        self, context: RunContext, opening: Opening, write: Callable[..., Coroutine[Any, Any, None]]
    ) -> None:
        self._context, self._steps = context, context.steps
        self._opening, self._write = opening, write
        self.end: RunEnd | None = None

    async def run(self, plan: Plan, state: dict[str, Any]) -> DrainingError | None:
        """Run the steps of the plan. Give the error for the caller if a drain stopped them."""
        active_run = self._context.active_run
        try:
            for index in range(plan.start, plan.stop):
                if active_run.stop_requested:
                    return await self._stopped(index)
                if not await self._run_step(index, plan, state):
                    return None
        except DrainedError as stop:
            drained = await self._stopped(self._context.header.position)
            drained.__cause__ = stop.__cause__
            return drained
        if active_run.termination_reason is not None and not self._context.header.finished:
            return await self._stopped(plan.stop)
        if plan.start == len(self._steps):
            await self._write(state, None, *self._status_at(plan.stop, plan))
        return None

    async def _stopped(self, index: int) -> DrainingError:
        """Record that the run stops before a step, and give the error of a drain.

        Raises:
            RunTerminatedError, asyncio.CancelledError: It was terminated.
        """
        if self._context.active_run.termination_reason is None:
            return await end_stopped(self._context)
        at = self._steps[index].name if index < len(self._steps) else None
        raise await end_by_hand(self._context, at)

    async def _run_step(self, index: int, plan: Plan, state: dict[str, Any]) -> bool:
        """Run one step and store its snapshot. False if it paused the run."""
        context = self._context
        progress = self._enter_step(index, plan)
        CURRENT.set(progress.current)
        try:
            while True:
                try:
                    await self._attempt(progress, plan, state)
                except (GeneratorExit, DrainedError):
                    raise
                except BaseException as caught:
                    error = await self._end_attempt(progress, state, caught)
                    if error is None:
                        continue
                    if await self._end_step(error, progress, state):
                        return False
                    if error is caught:
                        raise
                    raise error from error.__cause__
                else:
                    return True
        finally:
            if context.transaction is not None:
                context.transaction.abandon()
            context.active_run.progress = None
            progress.close()
            context.dispatcher.step = None
            CURRENT.set(progress.current.outer)

    async def _end_attempt(
        self, progress: StepProgress, state: dict[str, Any], error: BaseException
    ) -> BaseException | None:
        """Give the exception that ends a step. None where the step is executed again."""
        if self._context.transaction is None:
            return error
        return await prepare_repeat(self._context, progress, error, state)

    async def _attempt(self, progress: StepProgress, plan: Plan, state: dict[str, Any]) -> None:
        """Attempt a step as often as its policy says, and store the snapshot behind it."""
        context, step = self._context, self._steps[progress.index]
        if step.retry is None:
            attempt_once, parts = begin_attempt(context, step, progress)
            await attempt_once(context, step, parts, progress, state)
        else:
            store = partial(self._store, progress, plan, state)
            if await attempt_repeatedly(context, step, step.retry, progress, state, store=store):
                return
        await self._store(progress, plan, state)

    async def _store(self, progress: StepProgress, plan: Plan, state: dict[str, Any]) -> None:
        """Store the snapshot behind a step."""
        context, step = self._context, self._steps[progress.index]
        header = context.header
        try:
            if header.excerpt is not None:
                header.record_code(step.name, step.code.digest)
            progress.part = "snapshot"
            if context.transaction is not None:
                progress.cancellation = await context.transaction.settle(progress.cancellation)
            if context.active_run.termination_reason is not None:
                progress.keep_cancellation_of_caller(context.active_run)
            if has_reserved_keys(state):
                check_reserved_keys(state, f"the state after step {step.name!r}")
                drop_position(state)
            context.cursors.done_at = header.sequence + 1
            status, position, stopped_by = self._status_at(progress.index + 1, plan)
            written = self._write(state, step.name, status, position, stopped_by)
            if progress.cancellation is None:
                await written
            else:
                await context.backend.finish(written, progress.cancellation, needs_store=True)
            context.cursors.step, context.cursors.is_stored = None, False
        except BaseException:
            if context.transaction is not None:  # The step has not ended.
                context.header = header
            raise

    def _enter_step(self, index: int, plan: Plan) -> StepProgress:
        step, context = self._steps[index], self._context
        number = self._opening.attempt_number if index == plan.start else 1
        of = len(self._steps)
        progress = StepProgress(index, step.name, of, number, context)
        context.dispatcher.step = progress
        progress.loads = step.load is not None and plan.loads_at(index, context.data)
        cursors = context.cursors
        cursors.step, cursors.done_at = progress, None
        if cursors.found is not None:
            cursors.hand_over(progress.make_reports())
        context.active_run.progress = progress
        return progress

    async def _end_step(
        self, error: BaseException, progress: StepProgress, state: dict[str, Any]
    ) -> bool:
        """End the run at its step, by the exception of the step. True if that pauses it.

        Raises:
            DrainedError: A flow that the step runs was drained.
            RunTerminatedError: The step, or somebody else, has terminated the run.
        """
        context = self._context
        if progress.part == "step":
            error = end_of_step(error)
        if context.active_run.termination_reason is not None:
            raise await end_step_by_hand(context, progress, error)
        if progress.part == "step" and isinstance(error, Pause):
            await end_paused(context, progress, error, state)
            return True
        if progress.part == "step" and isinstance(error, Terminate):
            raise await end_terminated(context, progress, error) from error
        if is_of_drain(error):
            raise DrainedError from error
        await end_failed(context, progress, error)
        failure = SharedFailure.of(error)
        if failure is not None:
            self.end = RunEnd(context.request, context.run_store.header, None, failure)
        return False

    def _status_at(self, position: int, plan: Plan) -> tuple[Status, int, str | None]:
        """Status, position and `stopped_by` to store once everything before `position` is done."""
        if position == len(self._steps):
            return "finished", 0, None
        if position == plan.stop and self._context.active_run.termination_reason is None:
            return "stopped", position, "until"
        if self._context.active_run.drains:
            return "stopped", position, "drain"
        return "running", position, None
