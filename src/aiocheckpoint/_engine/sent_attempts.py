"""An attempt at a step with `executor=`: one call elsewhere, in place of one for each part."""

from __future__ import annotations

import logging
import pickle
from concurrent.futures import BrokenExecutor
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._concurrency.call_errors import CallRefusedError, PartTimeoutError
from aiocheckpoint._concurrency.call_pools import PoolCall
from aiocheckpoint._concurrency.threads import LateCancellationError
from aiocheckpoint._concurrency.worker_losses import is_loss
from aiocheckpoint._engine.context import DrainedError
from aiocheckpoint._engine.pickled_states import pickled_state
from aiocheckpoint._engine.sent_answers import raise_failure, take_state
from aiocheckpoint._engine.sent_progress import SentProgress
from aiocheckpoint._engine.sent_step import SentPart, SentStep, execute_step
from aiocheckpoint._engine.step_events import emit_finished
from aiocheckpoint._logging import RunPlace, log
from aiocheckpoint._snapshot.pickling.serializer import UnserializableError
from aiocheckpoint.errors import (
    CheckpointError,
    ExecutorError,
    StepTimeoutError,
    WorkerLostError,
)
from aiocheckpoint.events import StepLoaded, StepStarted

if TYPE_CHECKING:
    from asyncio import CancelledError

    from aiocheckpoint._engine.context import RunContext, StepProgress
    from aiocheckpoint._engine.sent_step import StepAnswer
    from aiocheckpoint._model.steps import NamedParts, Step

__all__ = ["attempt_sent"]

_MOST_LOSSES = 3
"""The most losses of a worker in one attempt. The step is sent again behind each."""
_MOST_BREAKS = 30
"""The most breaks of the executor in one attempt, each before the step had begun."""
_PAUSE_SECONDS = 0.1
"""The pause before it is sent again. The progress of the lost worker comes in meanwhile."""
_LOSSES_TO_STAND_APART = 2
"""A step that has lost so many workers gets an executor of its own, so that it harms no other."""


async def attempt_sent(
    context: RunContext,
    step: Step,
    parts: NamedParts,
    progress: StepProgress,
    state: dict[str, Any],
) -> None:
    """Execute the loader, the step and the saver elsewhere, in one call.

    Args:
        context: The run.
        step: The step.
        parts: Its parts, all of which are called.
        progress: The position in the step, updated on the way.
        state: The state, which is changed once the step has ended well.
    """
    dispatcher = context.dispatcher
    if dispatcher.is_heard or dispatcher.known:
        await dispatcher.emit(StepStarted, **progress.event_fields, attempt=progress.attempt)
    progress.part = "step"
    answer, late = await _Sending(context, step, parts, progress).answer(state)
    progress.seconds.update(answer.seconds)
    if answer.part is not None:
        raise_failure(context, step, answer, progress, late)
    await take_state(context, step, answer, progress, state)
    progress.cancellation = late
    if "load" in answer.seconds and late is None:
        await dispatcher.emit(StepLoaded, **progress.event_fields, seconds=answer.seconds["load"])
    progress.result_ignored = answer.result_ignored
    context.header.record_duration(step.name, sum(answer.seconds.values()))
    if dispatcher.is_heard or dispatcher.known or progress.result_ignored:
        await emit_finished(context, progress)


class _Sending:
    """Sends one attempt at a step, again where its worker is lost.

    Args:
        context: The run.
        step: The step.
        parts: The parts to call.
        progress: The position in the step.
    """

    def __init__(
        self, context: RunContext, step: Step, parts: NamedParts, progress: StepProgress
    ) -> None:
        if step.executor is None:
            raise AssertionError(step.name)
        self._context, self._step, self._progress = context, step, progress
        self._pool = context.settings.pools.of(step.executor)
        self._parts = tuple(SentPart(name, part.function, part.takes_data) for name, part in parts)
        limit = step.run.timeout
        self._seconds = None if limit is None else limit.seconds
        self._losses = self._breaks = 0

    async def answer(self, state: dict[str, Any]) -> tuple[StepAnswer, CancelledError | None]:
        """Send the step, and give its answer, and a cancellation that came meanwhile.

        Raises:
            WorkerLostError: Its workers were lost again and again.
            ExecutorError: The executor does not execute it.
            StepTimeoutError: A part took too long.
            DrainedError: The flow is being drained, and its worker was lost.
        """
        context = self._context
        try:
            stream = await pickled_state(context.backend, state, context.settings.modules)
        except UnserializableError as error:
            raise ExecutorError(self._step.name, f"the state cannot be sent: {error}") from error
        while True:
            channel = SentProgress(self._progress)
            try:
                if self._pool.is_cold:
                    await context.backend.executor.warm_up(self._pool)
                answer = await self._send(self._sent(stream, channel))
            except LateCancellationError as late:
                returned = cast("StepAnswer", late.result)
                return self._with_progress(returned, channel), late.cancellation
            except Exception as error:  # noqa: BLE001 - executors of users raise anything
                await self._prepare_repeat(error, channel)
            else:
                return self._with_progress(answer, channel), None
            finally:
                channel.close()

    async def _send(self, sent: SentStep) -> StepAnswer:
        context = self._context
        apart = self._losses >= _LOSSES_TO_STAND_APART
        call = PoolCall(execute_step, sent, self._seconds, apart=apart)
        context.active_run.allow_interruption()
        try:
            answer: StepAnswer = await context.backend.executor.send(self._pool, call)
        finally:
            context.active_run.is_interruptible = False
        return answer

    def _sent(self, stream: bytes, channel: SentProgress) -> SentStep:
        context, progress = self._context, self._progress
        facts = progress.current.facts
        if facts is None:
            raise AssertionError(progress.step)
        # A process that cannot load a function dies of it, unless it is loaded in the call.
        parts = pickle.dumps(self._parts, 5) if self._pool.pickles_by_name else self._parts
        return SentStep(
            *(parts, stream, facts),
            needs=self._step.needs,
            cursor=None if progress.reports is None else progress.reports.cursor,
            channel=channel,
            location=context.run_store.location,
        )

    def _with_progress(self, answer: StepAnswer, channel: SentProgress) -> StepAnswer:
        """Give an answer, once the progress that came with it is taken over."""
        channel.take_over(answer.latest, answer.cursor)
        return answer

    async def _prepare_repeat(self, error: Exception, channel: SentProgress) -> None:
        """Wait until the step may be sent again, or raise what ends the attempt."""
        self._raise_unless_lost(error)
        active_run = self._context.active_run
        await active_run.sleep(self._context.backend, _PAUSE_SECONDS)
        if active_run.stop_requested:
            raise DrainedError from error
        self._count_loss(error, has_begun=channel.has_begun)
        self._log_loss(error)

    def _raise_unless_lost(self, error: Exception) -> None:
        """Raise what ends the attempt, unless the step can be sent again: its worker was lost."""
        name = self._step.name
        if isinstance(error, PartTimeoutError) and self._seconds is not None:
            self._progress.part = error.part
            raise StepTimeoutError(name, error.part, self._seconds) from None
        if isinstance(error, ExecutorError):
            raise ExecutorError(name, error.problem) from error.__cause__
        if not is_loss(error):
            raise ExecutorError(name, _problem_of(error)) from error
        if isinstance(error, BrokenExecutor):
            self._pool.note_break()
            if not self._pool.renews:
                raise ExecutorError(
                    name,
                    f"it is broken ({error}). Give executor= a function that makes one, or "
                    "'process', so that a lost process is replaced",
                ) from error

    def _count_loss(self, error: Exception, *, has_begun: bool) -> None:
        """Count a loss, and raise `WorkerLostError` if it is one too many.

        Only a broken executor fails steps that have not begun.
        """
        has_begun = has_begun or not isinstance(error, BrokenExecutor)
        self._losses += has_begun
        self._breaks += not has_begun
        if self._losses > _MOST_LOSSES or self._breaks > _MOST_BREAKS:
            lost = self._losses + self._breaks
            raise WorkerLostError(self._context.run_id, lost, step=self._step.name) from error

    def _log_loss(self, error: Exception) -> None:
        settings, progress = self._context.settings, self._progress
        place = RunPlace(settings.flow, self._context.run_id, progress.step, progress.attempt)
        words = "The worker of step %r was lost, and the step is sent again: %s"
        log(logging.WARNING, place, words, progress.step, str(error) or type(error).__name__)


def _problem_of(error: Exception) -> str:
    if isinstance(error, CheckpointError):
        return str(error)
    if isinstance(error, (CallRefusedError, pickle.PicklingError, AttributeError, TypeError)):
        return (
            f"the step cannot be sent ({type(error).__name__}: {error}). Put its functions at the "
            "top level of a module that the worker can import"
        )
    return str(error) or type(error).__name__
