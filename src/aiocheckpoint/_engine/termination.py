"""The end of a run for good: by its step, or since it was started too often at one step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from aiocheckpoint._concurrency.stalls import StalledError
from aiocheckpoint._engine.outcomes import emit_terminated, store_end, unanswered, update_header
from aiocheckpoint._model.failure_texts import safe_text
from aiocheckpoint.errors import RunTerminatedError

if TYPE_CHECKING:
    from asyncio import CancelledError

    from aiocheckpoint._engine.context import RunContext, StepProgress
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.termination import Terminate

__all__ = ["end_terminated", "terminate_claimed"]


async def end_terminated(
    context: RunContext, progress: StepProgress, end: Terminate
) -> RunTerminatedError:
    """Record that a step has terminated its run, and give the error for the caller.

    The stored state stays that on entry to the step.

    Raises:
        CheckpointError: The termination cannot be stored. `StepFailed` was emitted.
        asyncio.CancelledError: A cancellation came meanwhile. The run is terminated, or cancelled
            where that was not stored by then.
    """
    reason = safe_text(lambda: end.reason)
    stored = update_header(
        context, lambda header: header.terminated(by="step", reason=reason, at=time.time())
    )
    cancellation = await store_end(context, progress, stored, "termination")
    return await _emitted(context, "step", progress.step, reason, cancellation)


async def terminate_claimed(context: RunContext, stored: Header, reason: str) -> RunTerminatedError:
    """Terminate a run that recovery has claimed and will not start again. Give the error for it.

    Raises:
        CheckpointError: The termination cannot be stored.
        asyncio.CancelledError: A cancellation came meanwhile.
    """

    def terminated(header: Header) -> Header:
        return header.terminated(by="starts", reason=reason, at=time.time())

    context.dispatcher.number = stored.number
    update = context.run_store.update_header
    try:
        cancellation = await context.backend.run_shielded(update, terminated, if_stalled="withdraw")
    except StalledError as stalled:
        raise unanswered(context, stalled, "termination") from None
    return await _emitted(context, "starts", stored.next_step, reason, cancellation)


async def _emitted(
    context: RunContext,
    by: Literal["step", "starts"],
    step: str | None,
    reason: str,
    cancellation: CancelledError | None,
) -> RunTerminatedError:
    """Emit the termination, and give the error."""
    cancellation = await emit_terminated(context, by, step, reason) or cancellation
    if cancellation is not None:
        raise cancellation
    return RunTerminatedError(
        context.run_store.location, run_id=context.run_id, reason=reason, by=by
    )
