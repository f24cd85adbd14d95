"""How a run ends before its last step is through: recorded in the stored header, and told.

The state that is stored stays what it was on entry to the step under way.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.executors import ExceptionEnvelope
from aiocheckpoint._engine.failures import put_note, shortened
from aiocheckpoint._engine.locking import prefer_cancellation
from aiocheckpoint.errors import CheckpointError, DrainingError, LeaseLostError, StorageError

if TYPE_CHECKING:
    from asyncio import CancelledError
    from collections.abc import Callable
    from typing import Any

    from aiocheckpoint._engine.context import RunContext, StepProgress
    from aiocheckpoint._engine.failures import StepFailure
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.pause import Pause

__all__ = ["fail", "pause", "record", "stop"]


async def fail(context: RunContext, progress: StepProgress, error: BaseException) -> None:
    """Record what came out of a step, put a note on it, and tell the hooks."""
    error = error.error if isinstance(error, ExceptionEnvelope) else error
    failure = progress.failure(error)
    recorded = failure.cancelled or progress.part != "snapshot"
    cancellation = await record(context, failure) if recorded else None
    stored = context.run_store.header
    done = stored is not None and (stored.position != progress.index or stored.finished)
    put_note(
        error, failure.account(progress.index, progress.of, context.run_store.location, done=done)
    )
    told = context.dispatcher.emit(
        "StepFailed",
        **progress.where,
        part=progress.part,
        error=error,
        attempt=progress.attempt,
        cancelled=failure.cancelled,
        seconds=failure.seconds,
    )
    prefer_cancellation(await context.backend.shield(told) or cancellation, error)


async def record(context: RunContext, failure: StepFailure) -> CancelledError | None:
    """Write down what came out of an attempt; where that fails, say so on what came out.

    Returns:
        The first cancellation that came meanwhile, for the caller to raise.

    Raises:
        LeaseLostError: The run is another's by now, and this was not to be the last attempt.
    """

    def recorded(stored: Header) -> Header:
        if stored.finished and failure.part == "snapshot":
            return stored  # cancelled after the last snapshot: there is nothing to go on with
        return failure.recorded_in(stored)

    try:
        return await _amend(context, recorded)
    # The first exception is what the user must see.
    except Exception as second:
        problem = f"{type(second).__name__}: {second}"
        put_note(
            failure.error,
            "aiocheckpoint: the checkpoint does not tell of this, because writing that down "
            f"failed as well: {problem}",
        )
        if isinstance(second, LeaseLostError) and not failure.last:
            raise
    return None


async def pause(
    context: RunContext, progress: StepProgress, reason: Pause, state: dict[str, Any]
) -> None:
    """Store that the run waits at this step, and give the state back what it was on entry to it.

    Raises:
        CheckpointError: That cannot be stored, or the state not be loaded; told as a failure.
        asyncio.CancelledError: A cancellation came meanwhile; the run is paused.
    """
    progress.part = "snapshot"
    try:
        cancellation = await _store_pause(context, reason, state)
    except CheckpointError as error:
        await fail(context, progress, error)
        raise
    told = context.dispatcher.emit("StepPaused", **progress.where, reason=reason.reason)
    cancellation = await context.backend.shield(told) or cancellation
    if cancellation is not None:
        raise cancellation


async def _store_pause(
    context: RunContext, reason: Pause, state: dict[str, Any]
) -> CancelledError | None:
    facts = {"status": "paused", "pause": shortened(lambda: reason.reason), "failure": None}
    cancellation = await _amend(context, lambda stored: _told(stored, facts))
    if context.header.status != "paused":
        raise StorageError(
            context.run_store.location,
            f"{context.run_store.location} was deleted by somebody else while the run was under way, "
            "so that it cannot be paused. Run it again from the beginning.",
        )
    if cancellation is None:
        await context.restore(state, {})
    return cancellation


async def stop(context: RunContext) -> DrainingError:
    """Store that the run was stopped, and give the error that says so.

    One that was paused, and has not come to its step again, still waits for its update.
    """
    drained = DrainingError(context.settings.flow, context.run_store.location)

    def stopped(stored: Header) -> Header:
        return stored if stored.status == "paused" else _told(stored, {"status": "stopped"})

    if context.header.status != "stopped":
        try:
            cancellation = await _amend(context, stopped)
        except Exception as second:  # noqa: BLE001 - as "running" it is resumed as well
            put_note(drained, f"aiocheckpoint: it is not marked as stopped: {second}")
        else:
            prefer_cancellation(cancellation, drained)
    return drained


def _told(stored: Header, facts: dict[str, Any]) -> Header:
    return replace(stored, **facts, sequence=stored.sequence + 1, written_at=time.time())


async def _amend(context: RunContext, change: Callable[[Header], Header]) -> CancelledError | None:
    """Change the stored header; whose run it is comes from this run, for it may be unknown."""
    own, names = context.header, context.steps.names

    def amended(stored: Header) -> Header:
        who = replace(stored, flow=own.flow, run_id=own.run_id, number=own.number)
        when = replace(who, started_at=own.started_at, attempts=own.attempts)
        excerpt = names.excerpt(stored.position, finished=stored.finished)
        changed = change(replace(when, steps=names.listed, excerpt=excerpt))
        return stored if changed.sequence == stored.sequence else changed

    try:
        return await context.backend.run_shielded(context.run_store.update_header, amended)
    finally:
        stored = context.run_store.header
        if stored is not None:
            sequence, status = stored.sequence, stored.status
            context.header = replace(context.header, sequence=sequence, status=status)
