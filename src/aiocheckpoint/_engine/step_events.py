"""The event behind the parts of a step."""

from __future__ import annotations

from asyncio import CancelledError
from typing import TYPE_CHECKING

from aiocheckpoint.events import StepFinished

if TYPE_CHECKING:
    from aiocheckpoint._engine.context import RunContext, StepProgress

__all__ = ["emit_finished"]


async def emit_finished(context: RunContext, progress: StepProgress) -> None:
    """Emit that step and saver have returned. The step is done.

    A cancellation that comes from here on is raised behind the snapshot.
    """
    facts = {"seconds": progress.seconds, "result_ignored": progress.result_ignored}
    emission = context.dispatcher.emit(StepFinished, **progress.event_fields, **facts)
    if progress.cancellation is None:
        try:
            await emission
        except CancelledError as caught:
            progress.cancellation = caught
    else:
        progress.cancellation = await context.backend.shield(emission) or progress.cancellation
