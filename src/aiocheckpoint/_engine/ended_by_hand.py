"""The end of a run that somebody has terminated, recorded by the process that carries it."""

from __future__ import annotations

import time
from asyncio import CancelledError
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.executors import ExceptionEnvelope
from aiocheckpoint._concurrency.stalls import StalledError
from aiocheckpoint._engine.failures import add_note_once
from aiocheckpoint._engine.outcomes import emit_terminated, end_failed, update_header
from aiocheckpoint._model.termination import ENDS_OF_STEPS
from aiocheckpoint.errors import RunTerminatedError

if TYPE_CHECKING:
    from aiocheckpoint._engine.context import RunContext, StepProgress
    from aiocheckpoint._model.header import Header

__all__ = ["end_by_hand", "end_step_by_hand"]


async def end_by_hand(context: RunContext, at: str | None) -> RunTerminatedError | CancelledError:
    """Record that a run is terminated, and give the exception for its caller.

    Where this cannot be stored, the request is still in the store, and the next claim ends the run.

    Args:
        context: The run, whose termination was asked for.
        at: Name of the step at which it stands.

    Returns:
        The error, or a cancellation that came meanwhile.
    """
    reason = context.active_run.termination_reason or ""
    location = context.run_store.location
    error = RunTerminatedError(location, run_id=context.run_id, reason=reason, by="hand")

    def terminated(stored: Header) -> Header:
        if stored.finished:
            return stored
        return stored.terminated(by="hand", reason=reason, at=time.time())

    cancellation = None
    try:
        cancellation = await update_header(context, terminated)
    except Exception as second:  # noqa: BLE001 - the request stays in the store
        problem = (
            f"aiocheckpoint: it is not marked as terminated yet, its next claim does: {second}"
        )
        add_note_once(error, problem)
        cancellation = second.cancellation if isinstance(second, StalledError) else None
    return await emit_terminated(context, "hand", at, reason) or cancellation or error


async def end_step_by_hand(
    context: RunContext, progress: StepProgress, error: BaseException
) -> BaseException:
    """Do as `end_by_hand` for a run whose step was broken off, or has failed meanwhile.

    Args:
        context: The run.
        progress: The position in the step.
        error: The exception that came out of the step.

    Returns:
        The exception for the caller. That is `error` if the caller has cancelled or interrupted
        the run as well.
    """
    run = context.active_run
    is_cancelled = run.take_back_interruption()
    error = error.error if isinstance(error, ExceptionEnvelope) else error
    stored = context.run_store.header
    if stored is not None and stored.finished:  # Cancelled behind the last snapshot.
        await end_failed(context, progress, error)
        return error
    ended = await end_by_hand(context, progress.step)
    is_of_step = isinstance(error, (Exception, CancelledError, *ENDS_OF_STEPS))
    if not is_of_step or (is_cancelled and isinstance(error, CancelledError)):
        return error
    ended.__cause__ = None if isinstance(error, CancelledError) else error
    return ended
