"""Records and emits how a run ended before its last step: failed, paused or stopped.

Only the stored header changes. The stored state remains that on entry to the current step.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.executors import ExceptionEnvelope
from aiocheckpoint._concurrency.threads import prefer_cancellation
from aiocheckpoint._engine.failures import add_note_once, safe_text
from aiocheckpoint.errors import CheckpointError, DrainingError, LeaseLostError, StorageError
from aiocheckpoint.events import StepFailed, StepPaused

if TYPE_CHECKING:
    from asyncio import CancelledError
    from collections.abc import Callable
    from typing import Any

    from aiocheckpoint._engine.context import RunContext, StepProgress
    from aiocheckpoint._engine.failures import StepFailure
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.pause import Pause

__all__ = ["end_failed", "end_paused", "end_stopped", "record_failure"]


async def end_failed(context: RunContext, progress: StepProgress, error: BaseException) -> None:
    """Record the exception of a step, add a note to it, and emit `StepFailed`."""
    error = error.error if isinstance(error, ExceptionEnvelope) else error
    failure = progress.failure(error)
    if failure.cancelled or progress.part != "snapshot":
        cancellation = await record_failure(context, failure)
    else:
        cancellation = await _look_again(context, error)
    location, stored = context.run_store.location, context.run_store.header
    add_note_once(error, failure.note(progress.index, progress.of, location, stored))
    emission = context.dispatcher.emit(
        StepFailed,
        **progress.event_fields,
        part=progress.part,
        error=error,
        attempt=progress.attempt,
        cancelled=failure.cancelled,
        seconds=failure.seconds,
    )
    prefer_cancellation(await context.backend.shield(emission) or cancellation, error)


async def _look_again(context: RunContext, error: BaseException) -> CancelledError | None:
    """Read the stored header after a snapshot that could not be written, for the note.

    Returns:
        The first cancellation that came meanwhile, for the caller to raise.
    """
    if isinstance(error, (StorageError, LeaseLostError)):
        with suppress(Exception):  # The user must see the first exception.
            return await _update_header(context, lambda stored: stored)
    return None


async def record_failure(context: RunContext, failure: StepFailure) -> CancelledError | None:
    """Record a failed attempt in the stored header. If that fails, add a note on it.

    Returns:
        The first cancellation that came meanwhile, for the caller to raise.

    Raises:
        LeaseLostError: Another process owns the run by now, and a further attempt was planned.
    """

    def recorded(stored: Header) -> Header:
        if stored.finished and failure.part == "snapshot":
            return stored  # Cancelled after the last snapshot: there is nothing to resume.
        return failure.recorded_in(stored)

    try:
        return await _update_header(context, recorded)
    # The user must see the first exception.
    except Exception as second:
        problem = f"{type(second).__name__}: {second}"
        add_note_once(
            failure.error,
            "aiocheckpoint: this failure is not recorded in the checkpoint, because writing it "
            f"failed: {problem}",
        )
        if isinstance(second, LeaseLostError) and not failure.last:
            raise
    return None


async def end_paused(
    context: RunContext, progress: StepProgress, reason: Pause, state: dict[str, Any]
) -> None:
    """Record that the run is paused at this step, and restore the state as it was on entry.

    Raises:
        CheckpointError: The pause cannot be stored, or the state cannot be loaded. `StepFailed`
            was emitted.
        asyncio.CancelledError: A cancellation came meanwhile. The run is paused.
    """
    progress.part = "snapshot"
    try:
        cancellation = await _store_pause(context, reason, state)
    except CheckpointError as error:
        await end_failed(context, progress, error)
        raise
    emission = context.dispatcher.emit(StepPaused, **progress.event_fields, reason=reason.reason)
    cancellation = await context.backend.shield(emission) or cancellation
    if cancellation is not None:
        raise cancellation


async def _store_pause(
    context: RunContext, reason: Pause, state: dict[str, Any]
) -> CancelledError | None:
    changes = {"status": "paused", "pause": safe_text(lambda: reason.reason), "failure": None}
    cancellation = await _update_header(context, lambda stored: _next_header(stored, changes))
    if context.header.status != "paused":
        location = context.run_store.location
        raise StorageError(
            location,
            f"{location} was deleted by another program while the run was in progress, so that "
            "it cannot be paused. Run it again from the beginning.",
        )
    if cancellation is None:
        await context.restore(state, {})
    return cancellation


async def end_stopped(context: RunContext) -> DrainingError:
    """Record that a drain stopped the run, and give the error for its caller.

    A paused run that has not reached its step again remains paused.
    """

    def stopped(stored: Header) -> Header:
        return stored if stored.status == "paused" else _next_header(stored, {"status": "stopped"})

    if context.header.status == "stopped":
        return _drained(context)
    try:
        cancellation = await _update_header(context, stopped)
    except Exception as second:  # noqa: BLE001 - a run stored as "running" is resumed as well
        drained = _drained(context)
        add_note_once(drained, f"aiocheckpoint: it is not marked as stopped: {second}")
    else:
        drained = _drained(context)
        prefer_cancellation(cancellation, drained)
    return drained


def _drained(context: RunContext) -> DrainingError:
    location, problem = context.run_store.location, ""
    if context.run_store.header is None:
        problem = (
            f"the run was stopped on its way, and nothing is stored in {location} any more: it "
            "was deleted or moved. Run it again from the beginning in the next process"
        )
    return DrainingError(context.settings.flow, location, problem=problem)


def _next_header(stored: Header, changes: dict[str, Any]) -> Header:
    return replace(stored, **changes, sequence=stored.sequence + 1, written_at=time.time())


async def _update_header(
    context: RunContext, change: Callable[[Header], Header]
) -> CancelledError | None:
    """Change the stored header, and fill in the fields of this run, which a bare pickle lacks."""
    own, names = context.header, context.steps.names

    def updated(stored: Header) -> Header:
        known = replace(
            stored,
            flow=own.flow,
            run_id=own.run_id,
            number=own.number,
            started_at=own.started_at,
            attempts=own.attempts,
            steps=names.listed,
            excerpt=names.excerpt(stored.position, finished=stored.finished),
        )
        changed = change(known)
        return stored if changed.sequence == stored.sequence else changed

    try:
        return await context.backend.run_shielded(context.run_store.update_header, updated)
    finally:
        stored = context.run_store.header
        if stored is not None:
            sequence, status = stored.sequence, stored.status
            context.header = replace(context.header, sequence=sequence, status=status)
