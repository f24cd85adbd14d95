"""Attempts at one step: its loader, the step itself and its saver, repeated under `retry=`."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.executors import ExceptionEnvelope
from aiocheckpoint._concurrency.threads import LateCancellationError, prefer_cancellation
from aiocheckpoint._engine.active_runs import is_of_drain
from aiocheckpoint._engine.around import run_inside_managers
from aiocheckpoint._engine.context import DrainedError
from aiocheckpoint._engine.ended_steps import EndedStep
from aiocheckpoint._engine.failures import add_note_once
from aiocheckpoint._engine.limiters import hold_limiter
from aiocheckpoint._engine.outcomes import record_failure
from aiocheckpoint._engine.step_events import emit_finished
from aiocheckpoint._engine.step_transactions import end_transaction
from aiocheckpoint._model.part_checks import check_end, checked_loaded
from aiocheckpoint._model.retry import Retry, RetryState
from aiocheckpoint._model.termination import ENDS_OF_STEPS
from aiocheckpoint.errors import (
    CheckpointError,
    LeaseLostError,
    StepTransactionError,
)
from aiocheckpoint.events import AttemptFailed, StepLoaded, StepStarted
from aiocheckpoint.handlers._step_transactions import TransactionLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiocheckpoint._concurrency.callables import UserFunction
    from aiocheckpoint._engine.context import RunContext, StepProgress
    from aiocheckpoint._model.steps import NamedParts, Step

    _AttemptOnce = Callable[
        [RunContext, Step, NamedParts, StepProgress, dict[str, Any]], Coroutine[Any, Any, None]
    ]

__all__ = ["attempt_repeatedly", "begin_attempt", "record_attempt", "restart"]


async def attempt_repeatedly(
    context: RunContext,
    step: Step,
    policy: Retry,
    progress: StepProgress,
    state: dict[str, Any],
    *,
    store: Callable[[], Coroutine[Any, Any, None]],
) -> bool:
    """Attempt a step until it succeeds, or its policy allows no further attempt.

    A saver that raised is called again alone, if the state that the step left could be kept, and
    the step has no transaction. The commit of a transaction is part of its attempt.

    Args:
        context: The run.
        step: The step.
        policy: Its policy.
        progress: The position in the step.
        state: The state.
        store: Stores the snapshot behind the step.

    Returns:
        Whether the snapshot is stored.

    Raises:
        DrainedError: The flow is being drained, and a further attempt was planned.
        BaseException: The exception of the last attempt.
    """
    retries = RetryState(policy, f"{context.settings.flow}.{step.name}", context.run_id)
    data = dict(context.data)
    failed: BaseException | None = None
    sleep = partial(context.active_run.sleep, context.backend)
    async for stamina_attempt in context.backend.executor.attempts(retries, sleep):
        if failed is not None:
            await restart(context, progress, failed, state, data)
        try:
            attempt_once, parts = begin_attempt(context, step, progress)
            await attempt_once(context, step, parts, progress, state)
            return context.transaction is not None and await _stored(store)
        except Exception as error:
            failed = error.error if isinstance(error, ExceptionEnvelope) else error
            if not isinstance(failed, Exception) or not _may_be_repeated(failed, progress, retries):
                raise
            if context.transaction is not None:
                ended = await end_transaction(context.transaction, progress, failed)
                if ended.error is not failed:
                    raise ended.error from failed
            owned = await record_attempt(context, progress, failed)
            if not owned or retries.is_over(progress.ended.at if progress.ended else None):
                raise
            with stamina_attempt:
                raise
    if failed is not None:
        raise failed  # A StopAsyncIteration, which ends the loop where stamina raises it.
    raise AssertionError("stamina gave no attempt")


async def _stored(store: Callable[[], Coroutine[Any, Any, None]]) -> bool:
    await store()
    return True


def _may_be_repeated(error: Exception, progress: StepProgress, retries: RetryState) -> bool:
    """Whether the policy of a step may allow a further attempt behind an exception of it."""
    if is_of_drain(error):
        return False
    is_of_store = isinstance(error, (CheckpointError, TransactionLostError))
    if progress.part == "snapshot" and is_of_store and not isinstance(error, StepTransactionError):
        return False  # Another exception of a commit comes from the step's own SQL.
    return retries.should_retry(error)


async def record_attempt(context: RunContext, progress: StepProgress, error: Exception) -> bool:
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


async def restart(
    context: RunContext,
    progress: StepProgress,
    failed: BaseException,
    state: dict[str, Any],
    data: dict[str, Any],
) -> None:
    """Restore both dicts for another attempt: as they were on entry to the step, or behind it."""
    if context.active_run.stop_requested:
        raise DrainedError
    try:
        ended, progress.ended = progress.ended, None
        if ended is not None and await ended.restore(context.backend, state, context.data):
            progress.ended = ended
        else:
            await context.restore(state, data)
    except CheckpointError as second:
        add_note_once(failed, f"aiocheckpoint: there was no further attempt: {second}")
    else:
        progress.attempt += 1
        progress.began = time.perf_counter()
        return
    raise failed  # Outside the except block, so that its cause and context stay the same.


def begin_attempt(
    context: RunContext, step: Step, progress: StepProgress
) -> tuple[_AttemptOnce, NamedParts]:
    """Note the start of an attempt, and give the function that makes it, and the parts to call."""
    header, attempt_number = context.header, progress.attempt
    if progress.ended is not None:
        progress.part, parts = "save", step.parts[-1:]
    else:
        progress.part, progress.seconds = "load", {}
        parts = step.parts if progress.loads else step.parts_but_load
    progress.current.facts = (
        *(header.flow, header.run_id, header.number),
        *(step.name, attempt_number),
    )
    if attempt_number > 1:
        header.record_attempt(step.name, attempt_number)
        if progress.reports is not None:
            progress.reports.begin()
    if step.limiter is not None:
        return _attempt_limited, parts
    if context.settings.around:
        return _attempt_within, parts
    return _attempt if step.executor is None else _attempt_elsewhere(), parts


def _attempt_elsewhere() -> _AttemptOnce:
    # Imported here because most flows have no step with an executor.
    from aiocheckpoint._engine.sent_attempts import attempt_sent  # noqa: PLC0415

    return attempt_sent


async def _attempt(
    context: RunContext,
    step: Step,
    parts: NamedParts,
    progress: StepProgress,
    state: dict[str, Any],
) -> None:
    """Call the loader, the step and the saver once, or the saver alone.

    Args:
        context: The run.
        step: The step.
        parts: The parts to call, from `begin_attempt`.
        progress: The position in the step, updated on the way.
        state: The state.
    """
    dispatcher, seconds, late = context.dispatcher, progress.seconds, None
    if dispatcher.is_heard or dispatcher.known:
        await dispatcher.emit(StepStarted, **progress.event_fields, attempt=progress.attempt)
    for name, function in parts:
        progress.part = name
        if name == "save" and step.retry is not None and _may_be_saved_alone(context, progress):
            modules = context.settings.modules
            progress.ended = await EndedStep.keep(context.backend, state, context.data, modules)
        began = time.perf_counter()
        try:
            returned = await _called(context, function, state)
        except ENDS_OF_STEPS as end:
            check_end(name, step.name, end)
            raise
        except LateCancellationError as error:
            late, returned = error.cancellation, error.result
        seconds[name] = time.perf_counter() - began
        if late is not None and name != parts[-1][0]:
            raise late
        if name == "load":
            context.data.update(checked_loaded(returned, step.name, step.needs))
            await dispatcher.emit(StepLoaded, **progress.event_fields, seconds=seconds["load"])
        elif name == "step":
            progress.result_ignored = not (
                returned is None or returned is state or returned is context.data
            )
    progress.cancellation = late
    context.header.record_duration(step.name, sum(seconds.values()))
    if dispatcher.is_heard or dispatcher.known or progress.result_ignored:
        await emit_finished(context, progress)


def _may_be_saved_alone(context: RunContext, progress: StepProgress) -> bool:
    """Whether the saver may be called again alone, and is not so already."""
    return progress.ended is None and context.transaction is None


async def _called(context: RunContext, function: UserFunction, state: dict[str, Any]) -> object:
    """Call a part of a step. A termination may interrupt it."""
    args = (state, context.data) if function.takes_data else (state,)
    context.active_run.allow_interruption()
    try:
        return await context.backend.executor.call(function, *args)
    finally:
        context.active_run.is_interruptible = False


async def _attempt_within(
    context: RunContext,
    step: Step,
    parts: NamedParts,
    progress: StepProgress,
    state: dict[str, Any],
) -> None:
    """Do as `_attempt`, inside the context managers of `around=`.

    A cancellation that comes while they are left, and the step is done, is raised behind the
    snapshot.
    """
    facts = {**progress.event_fields, "attempt": progress.attempt}
    event = context.dispatcher.make(StepStarted, **facts)
    attempt_once = _attempt if step.executor is None else _attempt_elsewhere()
    work = attempt_once(context, step, parts, progress, state)
    cancellation = await run_inside_managers(context, "attempt", event, work)
    progress.cancellation = progress.cancellation or cancellation


async def _attempt_limited(
    context: RunContext,
    step: Step,
    parts: NamedParts,
    progress: StepProgress,
    state: dict[str, Any],
) -> None:
    """Do as `_attempt` or `_attempt_within`, while the limiter of the step is held."""
    attempt_once = _attempt_within if context.settings.around else _attempt
    work = attempt_once(context, step, parts, progress, state)
    await hold_limiter(context, step, progress, state, work)
