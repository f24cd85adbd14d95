"""Attempts at one step: its loader, the step itself and its saver, repeated under `retry=`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._concurrency.executors import ExceptionEnvelope
from aiocheckpoint._concurrency.threads import prefer_cancellation
from aiocheckpoint._engine.context import DrainedError
from aiocheckpoint._engine.failures import add_note_once
from aiocheckpoint._engine.outcomes import record_failure
from aiocheckpoint._model.current_step import CURRENT, CurrentStep
from aiocheckpoint._model.pause import Pause
from aiocheckpoint._model.retry import Retry, RetryState
from aiocheckpoint.errors import (
    CheckpointError,
    FlowDefinitionError,
    InvalidTypeError,
    LeaseLostError,
)
from aiocheckpoint.events import AttemptFailed, StepFinished, StepLoaded, StepStarted

if TYPE_CHECKING:
    from aiocheckpoint._engine.context import RunContext, StepProgress
    from aiocheckpoint._model.steps import Step

__all__ = ["attempt", "attempt_repeatedly"]


async def attempt_repeatedly(
    context: RunContext, step: Step, policy: Retry, progress: StepProgress, state: dict[str, Any]
) -> None:
    """Attempt a step until it succeeds, or its policy allows no further attempt.

    Raises:
        DrainedError: The flow is being drained, and a further attempt was planned.
        BaseException: The exception of the last attempt.
    """
    data, retries = dict(context.data), RetryState(policy)
    failed: BaseException | None = None
    async for stamina_attempt in context.backend.executor.attempts(retries.context):
        if failed is not None:
            await _restart(context, progress, failed, state, data)
        try:
            return await attempt(context, step, progress, state)
        except Exception as error:
            failed = error.error if isinstance(error, ExceptionEnvelope) else error
            if not (isinstance(failed, Exception) and retries.should_retry(failed)):
                raise
            if not await _record_attempt(context, progress, failed):
                raise
            with stamina_attempt:
                raise
    raise AssertionError("stamina gave no attempt, or hid the exception of the last one")


async def _record_attempt(context: RunContext, progress: StepProgress, error: Exception) -> bool:
    """Record and emit a failed attempt. False if this process has lost the run."""
    failure = progress.failure(error, last=False)
    cancellation, owned = None, True
    try:
        cancellation = await record_failure(context, failure)
    except LeaseLostError:
        owned = False
    facts = {"part": failure.part, "attempt": failure.attempt, "seconds": failure.seconds}
    emission = context.dispatcher.emit(AttemptFailed, **progress.event_fields, **facts, error=error)
    prefer_cancellation(await context.backend.shield(emission) or cancellation, error)
    return owned


async def _restart(
    context: RunContext,
    progress: StepProgress,
    failed: BaseException,
    state: dict[str, Any],
    data: dict[str, Any],
) -> None:
    """Restore both dicts as they were on entry to the step, for another attempt."""
    if context.settings.active_runs.drain_requested:
        raise DrainedError
    try:
        await context.restore(state, data)
    except CheckpointError as second:
        add_note_once(failed, f"aiocheckpoint: there was no further attempt: {second}")
    else:
        progress.attempt += 1
        progress.began = time.perf_counter()
        return
    raise failed  # Outside the except block, so that its cause and context stay the same.


async def attempt(
    context: RunContext, step: Step, progress: StepProgress, state: dict[str, Any]
) -> None:
    """Call the loader, the step and the saver once.

    Args:
        context: The run.
        step: The step.
        progress: The position in the step, updated on the way.
        state: The state.
    """
    header, dispatcher = context.header, context.dispatcher
    attempt_number = progress.attempt
    progress.part = "load"
    CURRENT.set(CurrentStep(header.flow, header.run_id, header.number, step.name, attempt_number))
    if attempt_number > 1:
        header.record_attempt(step.name, attempt_number)
    if dispatcher.enabled:
        await dispatcher.emit(StepStarted, **progress.event_fields, attempt=attempt_number)
    seconds: dict[str, float] = {}
    result: Any = None
    for name, function in step.parts if progress.loads else step.parts_but_load:
        progress.part = name
        began = time.perf_counter()
        args = (state, context.data) if function.takes_data else (state,)
        try:
            returned = await context.backend.executor.call(function, *args)
        except Pause as pause:
            _check_pause(name, step.name, pause)
            raise
        seconds[name] = time.perf_counter() - began
        if name == "load":
            context.data.update(_checked_loaded(returned, step.name))
            await dispatcher.emit(StepLoaded, **progress.event_fields, seconds=seconds["load"])
        elif name == "step":
            result = returned
    header.record_duration(step.name, sum(seconds.values()))
    ignored = result is not None and result is not state and result is not context.data
    if dispatcher.enabled or ignored:
        facts = {"seconds": seconds, "result_ignored": ignored}
        await dispatcher.emit(StepFinished, **progress.event_fields, **facts)


def _check_pause(part: str, step: str, pause: Pause) -> None:
    if part != "step":
        raise FlowDefinitionError(
            f"the {'loader' if part == 'load' else 'saver'} of step {step!r} raised Pause, and "
            "only a step may pause a run. Raise it in the step itself, or in one of its own "
            f"{'before' if part == 'load' else 'behind'} it.",
            step=step,
        ) from pause


def _checked_loaded(loaded: object, step: str) -> dict[str, Any]:
    if not isinstance(loaded, dict):
        raise InvalidTypeError(
            f"the loader of step {step!r} returned a {type(loaded).__name__}, and a loader returns "
            "a dict, which is merged into `data`."
        )
    return cast("dict[str, Any]", loaded)
