"""Attempts at one step: its loader, itself and its saver, as often as it is to be tried."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._concurrency.backends import Carrier
from aiocheckpoint._engine.context import DrainedError
from aiocheckpoint._engine.failures import put_note
from aiocheckpoint._engine.locking import supersede
from aiocheckpoint._engine.outcomes import record
from aiocheckpoint._model.current_step import CURRENT, CurrentStep
from aiocheckpoint._model.pause import Pause
from aiocheckpoint.errors import (
    CheckpointError,
    FlowDefinitionError,
    InvalidTypeError,
    LeaseLostError,
)

if TYPE_CHECKING:
    from aiocheckpoint._engine.context import Passage, Progress
    from aiocheckpoint._model.retry import Retry
    from aiocheckpoint._model.steps import Step

__all__ = ["attempt", "attempt_repeatedly"]


async def attempt_repeatedly(
    passage: Passage, step: Step, policy: Retry, progress: Progress, state: dict[str, Any]
) -> None:
    """Attempt a step until it succeeds, or is not to be tried again.

    Raises:
        DrainedError: There is to be no further attempt, as the flow is being drained.
        BaseException: What came out of the last attempt.
    """
    # Whoever has a policy has imported the module, and most flows have none.
    from aiocheckpoint._model.retry import Tries  # noqa: PLC0415

    data, tries = dict(passage.data), Tries(policy)
    failed: BaseException | None = None
    async for trial in passage.calls.attempts(tries):
        if failed is not None:
            await _start_over(passage, progress, failed, state, data)
        try:
            return await attempt(passage, step, progress, state)
        except Exception as error:
            failed = error.error if isinstance(error, Carrier) else error
            if not (isinstance(failed, Exception) and tries.wants(failed)):
                raise
            if not await _note_failure(passage, progress, failed):
                raise
            with trial:
                raise
    raise AssertionError("there is an attempt, or what came out of the last one")


async def _note_failure(passage: Passage, progress: Progress, error: Exception) -> bool:
    """Record and tell what came out of an attempt; tell whether another one may be made here."""
    trouble = progress.trouble(error, last=False)
    cancellation, own = None, True
    try:
        cancellation = await record(passage, trouble)
    except LeaseLostError:
        own = False
    facts = {"part": trouble.part, "attempt": trouble.attempt, "seconds": trouble.seconds}
    told = passage.teller.tell("AttemptFailed", **progress.where, **facts, error=error)
    supersede(await passage.calls.shelter(told) or cancellation, error)
    return own


async def _start_over(
    passage: Passage,
    progress: Progress,
    failed: BaseException,
    state: dict[str, Any],
    data: dict[str, Any],
) -> None:
    """Make everything as it was on entry to the step, for another attempt."""
    if passage.setting.drain.asked:
        raise DrainedError
    try:
        await passage.restore(state, data)
    except CheckpointError as second:
        put_note(failed, f"aiocheckpoint: there was no further attempt: {second}")
    else:
        progress.attempt += 1
        progress.began = time.perf_counter()
        return
    raise failed  # Out here, where its cause and context stay what they are.


async def attempt(passage: Passage, step: Step, progress: Progress, state: dict[str, Any]) -> None:
    """Call the loader, the step and the saver once.

    Args:
        passage: The run.
        step: The step.
        progress: Is kept up to date.
        state: The state.
    """
    header, number, teller = passage.header, progress.attempt, passage.teller
    progress.part = "load"
    CURRENT.set(CurrentStep(header.flow, header.run_id, header.number, step.name, number))
    if number > 1:
        header.tell_attempts(step.name, number)
    if teller.heard:
        await teller.tell("StepStarted", **progress.where, attempt=number)
    seconds: dict[str, float] = {}
    result: Any = None
    for name, part in step.parts if progress.loads else step.parts_but_load:
        progress.part = name
        began = time.perf_counter()
        args = (state, passage.data) if part.takes_data else (state,)
        try:
            given = await passage.calls.user(part, *args)
        except Pause as pause:
            _check_pause(name, step.name, pause)
            raise
        seconds[name] = time.perf_counter() - began
        if name == "load":
            passage.data.update(_checked(given, step.name))
            await teller.tell("StepLoaded", **progress.where, seconds=seconds["load"])
        elif name == "step":
            result = given
    header.durations[step.name] = sum(seconds.values())
    ignored = result is not None and result is not state and result is not passage.data
    if teller.heard or ignored:
        facts = {"seconds": seconds, "result_ignored": ignored}
        await teller.tell("StepFinished", **progress.where, **facts)


def _check_pause(part: str, step: str, pause: Pause) -> None:
    if part != "step":
        raise FlowDefinitionError(
            f"the {'loader' if part == 'load' else 'saver'} of step {step!r} raised Pause, and "
            "only a step may pause a run. Raise it in the step itself, or in one of its own "
            f"{'before' if part == 'load' else 'behind'} it.",
            step=step,
        ) from pause


def _checked(loaded: object, step: str) -> dict[str, Any]:
    if not isinstance(loaded, dict):
        raise InvalidTypeError(
            f"the loader of step {step!r} returned a {type(loaded).__name__}, and a loader returns "
            "a dict, which is merged into `data`."
        )
    return cast("dict[str, Any]", loaded)
