"""The outcome of a run. Records and emits how it ended early: failed, paused or stopped.

Only the stored header changes. The stored state remains that on entry to the current step.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.executors import ExceptionEnvelope
from aiocheckpoint._concurrency.stalls import StalledError
from aiocheckpoint._concurrency.threads import AbandonedCallError, prefer_cancellation
from aiocheckpoint._engine.failures import add_note_once
from aiocheckpoint._engine.missing_keys import missing_key_note
from aiocheckpoint._engine.resume_call import resume_line
from aiocheckpoint._model.due import backoff_seconds
from aiocheckpoint._model.failure_texts import NOT_RECORDED, safe_text
from aiocheckpoint._tracebacks import drop_frames_of_engine
from aiocheckpoint.errors import (
    DrainingError,
    LeaseLostError,
    StorageError,
    UnserializableStateError,
)
from aiocheckpoint.events import RunTerminated, StepFailed, StepPaused

if TYPE_CHECKING:
    from asyncio import CancelledError
    from collections.abc import Awaitable, Callable
    from typing import Any, Literal

    from aiocheckpoint._engine.context import RunContext, StepProgress
    from aiocheckpoint._engine.failures import StepFailure
    from aiocheckpoint._model.header import Header, Status
    from aiocheckpoint._model.pause import Pause

    _Cancellation = CancelledError | None
    EndOfStep = Literal["pause", "termination"]
    TerminatedBy = Literal["step", "starts", "hand"]

__all__ = [
    "RunOutcome",
    "emit_terminated",
    "end_failed",
    "end_paused",
    "end_stopped",
    "record_failure",
    "store_end",
    "unanswered",
    "update_header",
]


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended, without an exception.

    Args:
        state: Its state.
        status: "finished", "stopped" or "paused".
        pause_number: Of a paused run, the number of the pause that it waits in, else 0.
    """

    state: dict[str, Any]
    status: Status
    pause_number: int = 0


async def end_failed(context: RunContext, progress: StepProgress, error: BaseException) -> None:
    """Record the exception of a step, add a note to it, and emit `StepFailed`."""
    error = error.error if isinstance(error, ExceptionEnvelope) else error
    failure = progress.failure(error)
    if (missing := missing_key_note(context, progress, error)) is not None:
        add_note_once(error, missing)  # Before the failure is stored, whose readers need it most.
    cancellation = None
    if progress.part != "snapshot" or failure.cancelled:
        cancellation = await record_failure(context, failure)
    elif isinstance(error, (StorageError, LeaseLostError)):
        cancellation = await _look_again(context)
    elif not isinstance(error, UnserializableStateError):  # It leaves what is stored untouched.
        cancellation = await record_failure(context, failure)
    elif context.cursors.has_new:
        cancellation = await _look_again(context)
    location, stored = context.run_store.location, context.run_store.header
    older = context.holds_older(stored)
    note = failure.note(progress.index, progress.of, location, stored, older=older)
    add_note_once(error, f"{note}\n{resume_line(context, stored)}")
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


async def _look_again(context: RunContext) -> CancelledError | None:
    """Read the stored header after a snapshot that could not be written, for the note.

    A new cursor is stored, if that is possible.

    Returns:
        The first cancellation that came meanwhile, for the caller to raise.
    """
    try:
        return await update_header(context, lambda stored: stored)
    except StalledError as stalled:
        return stalled.cancellation
    except Exception:  # noqa: BLE001 - the user must see the first exception
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
        return failure.recorded_in(stored, _due_again(context, failure, stored))

    drop_frames_of_engine(failure.error)
    if isinstance(failure.error, AbandonedCallError) and failure.part == "snapshot":
        return None  # Its thread may still store the snapshot.
    try:
        return await update_header(context, recorded)
    # The user must see the first exception.
    except Exception as second:
        stalled = isinstance(second, StalledError)
        problem = str(second) if stalled else f"{type(second).__name__}: {second}"
        add_note_once(
            failure.error,
            f"{NOT_RECORDED}writing it failed: {problem}",
        )
        if isinstance(second, LeaseLostError) and not failure.last:
            raise
        return second.cancellation if isinstance(second, StalledError) else None


def _due_again(context: RunContext, failure: StepFailure, stored: Header) -> float | None:
    """When recovery may take a run again that has ended by this failure. None for at once.

    A cancellation while the flow drains is the end of the process, and no fault of the run.
    """
    if not failure.last or (failure.cancelled and context.active_run.active_runs.drain_requested):
        return None
    start = context.run_store.start
    starts = 1 if start is None else start.starts_at(stored)
    return time.time() + backoff_seconds(starts, context.settings.backoff)


async def end_paused(
    context: RunContext, progress: StepProgress, reason: Pause, state: dict[str, Any]
) -> None:
    """Record that the run is paused at this step, and restore the state as it was on entry.

    Raises:
        CheckpointError: The pause cannot be stored, or the state cannot be loaded. `StepFailed`
            was emitted.
        asyncio.CancelledError: A cancellation came meanwhile. The run is paused, or cancelled
            where the pause was not stored by then.
    """
    stored = _store_pause(context, reason, state)
    cancellation = await store_end(context, progress, stored, "pause")
    number = context.header.pause_number
    facts = {"reason": reason.reason, "pause_number": number, "due": _due_of(reason)}
    emission = context.dispatcher.emit(StepPaused, **progress.event_fields, **facts)
    cancellation = await context.backend.shield(emission) or cancellation
    if cancellation is not None:
        raise cancellation


async def store_end(
    context: RunContext, progress: StepProgress, stored: Awaitable[_Cancellation], end: EndOfStep
) -> _Cancellation:
    """Await that the end of a run at its step is stored.

    Args:
        context: The run.
        progress: The position in the step.
        stored: Stores it.
        end: What it is, for messages.

    Returns:
        The first cancellation that came meanwhile, for the caller to raise.

    Raises:
        CheckpointError: It cannot be stored. `StepFailed` was emitted, unless the store hangs.
    """
    progress.part = "snapshot"
    try:
        return await stored
    except StalledError as stalled:
        raise unanswered(context, stalled, end) from None
    except GeneratorExit:
        raise
    except BaseException as error:
        await end_failed(context, progress, error)
        raise


def unanswered(context: RunContext, stalled: StalledError, end: EndOfStep) -> BaseException:
    """The exception for the caller of a run whose end a store that hangs has not stored."""
    location = context.run_store.location
    problem = f"{location} does not answer, so the {end} is not stored. Run again later."
    return stalled.cancellation or StorageError(location, problem)


async def emit_terminated(
    context: RunContext, by: TerminatedBy, step: str | None, reason: str
) -> _Cancellation:
    """Emit that a run is terminated.

    Returns:
        The first cancellation that came meanwhile, for the caller to raise.
    """
    emission = context.dispatcher.emit(RunTerminated, step=step, reason=reason, by=by)
    return await context.backend.shield(emission)


async def _store_pause(
    context: RunContext, reason: Pause, state: dict[str, Any]
) -> CancelledError | None:
    pause = safe_text(lambda: reason.reason)
    # Loaded first: where the pause is stored, another process may go on with the run.
    try:
        entry = await context.entry_state()
    except StorageError:
        if context.run_store.header is None:
            raise _deleted(context.run_store.location) from None
        raise
    due = _due_of(reason)
    cancellation = await update_header(
        context, lambda stored: stored.ended("paused", at=time.time(), pause=pause, due=due)
    )
    if context.header.status != "paused":
        raise _deleted(context.run_store.location)
    if cancellation is None:
        context.put_back(entry, state)
    return cancellation


def _due_of(reason: Pause) -> float | None:
    """The time of a pause. None where a subclass has put something else in its place."""
    due: object = getattr(reason, "due", None)
    return due if isinstance(due, float) and math.isfinite(due) else None


def _deleted(location: str) -> StorageError:
    return StorageError(
        location,
        f"{location} was deleted by another program while the run was in progress, so that it "
        "cannot be paused. Run it again from the beginning.",
    )


async def end_stopped(context: RunContext) -> DrainingError:
    """Record that a drain stopped the run, and give the error for its caller.

    A paused run that has not reached its step again remains paused.
    """

    def stopped(stored: Header) -> Header:
        if stored.status == "paused":
            return stored
        return stored.ended("stopped", at=time.time(), failure=stored.failure, stopped_by="drain")

    if context.header.status == "stopped":
        return _drained(context)
    try:
        cancellation = await update_header(context, stopped)
    except Exception as second:  # noqa: BLE001 - a run stored as "running" is resumed as well
        drained = _drained(context)
        add_note_once(drained, f"aiocheckpoint: it is not marked as stopped: {second}")
        if isinstance(second, StalledError):
            prefer_cancellation(second.cancellation, drained)
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


async def update_header(
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
            snapshots=own.snapshots,
            trace=own.trace,
        )
        if not context.holds_older(stored):
            excerpt = names.excerpt(stored.position, finished=stored.finished)
            known = replace(known, version=own.version, steps=names.listed, excerpt=excerpt)
        changed = change(known)
        return stored if changed.sequence == stored.sequence else changed

    try:
        update = context.cursors.update_header
        return await context.backend.run_shielded(update, updated, if_stalled="withdraw")
    finally:
        stored = context.run_store.header
        if stored is not None:
            context.header = replace(
                context.header,
                sequence=stored.sequence,
                status=stored.status,
                pause=stored.pause,
                pause_number=stored.pause_number,
            )
