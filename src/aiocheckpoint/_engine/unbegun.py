"""The record of a run that was cancelled before its first step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.threads import AbandonedCallError
from aiocheckpoint._engine.context import StepProgress
from aiocheckpoint._engine.outcomes import end_failed
from aiocheckpoint._model.statuses import ENDED

if TYPE_CHECKING:
    from aiocheckpoint._engine.context import RunContext
    from aiocheckpoint._model.plan import Plan

__all__ = ["end_unbegun"]

_LEFT = ENDED | {"paused"}
"""A run that was to begin anew, or that still needs its answer, stays as it is."""


async def end_unbegun(
    context: RunContext, plan: Plan, attempt_number: int, error: BaseException
) -> bool:
    """Record a cancellation at the step where the run was to begin, as one of the step itself.

    Args:
        context: The run, with its header.
        plan: Its plan.
        attempt_number: The number of the attempt that the step would have made.
        error: The cancellation, or the interrupt.

    Returns:
        Whether it is recorded. Not where nothing of this run is stored, where the stored run is at
        another step or of another version, or where a thread may still store its first snapshot.
    """
    stored, names, index = context.run_store.header, context.steps.names, plan.start
    if isinstance(error, AbandonedCallError) or stored is None or stored.status in _LEFT:
        return False
    if plan.migrates is not None and stored.version == plan.migrates:
        return False
    if stored.number != context.header.number or not stored.is_at(names, index):
        return False
    progress = StepProgress(index, names.all[index], len(names.all), attempt_number)
    await end_failed(context, progress, error)
    return True
