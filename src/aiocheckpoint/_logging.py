"""The hook that writes events to the logger `aiocheckpoint`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aiocheckpoint.events import (
    Event,
    RunFinished,
    RunStarted,
    SnapshotSkipped,
    SnapshotWritten,
    StepFailed,
    StepFinished,
)

if TYPE_CHECKING:
    from aiocheckpoint.errors import CheckpointError

__all__ = ["is_logged", "log_event", "log_skipped", "logger"]

logger = logging.getLogger("aiocheckpoint")


def is_logged() -> bool:
    """Whether more than surprises would be logged: if not, other events need not be made."""
    return logger.isEnabledFor(logging.INFO)


def log_event(event: Event) -> None:
    """Log an event: runs, steps and failures at INFO, surprises at WARNING, the rest at DEBUG.

    A failure is no more than INFO here because the exception itself comes out to the caller.
    """
    match event:
        case RunStarted(plan=plan):
            level = logging.WARNING if plan.ignores_given else logging.INFO
            logger.log(level, "%s: run %d. %s", _who(event), event.number, plan)
        case StepFinished(result_ignored=True):
            logger.warning(
                "%s: what step %r returned is not kept; change `state` in place.",
                _who(event),
                event.step,
            )
        case StepFinished():
            seconds = sum(event.seconds.values())
            logger.info("%s: step %r took %.3f s.", _who(event), event.step, seconds)
        case SnapshotSkipped():
            log_skipped(event.error)
        case StepFailed():
            verb = "was cancelled" if event.cancelled else "failed"
            logger.info(
                "%s: step %r %s in its part %r with %s.",
                *(_who(event), event.step, verb, event.part, type(event.error).__name__),
            )
        case SnapshotWritten():
            logger.debug("%s: snapshot of %d bytes written.", _who(event), event.bytes)
        case RunFinished():
            logger.info("%s: run %d %s.", _who(event), event.number, event.status)
        case _:
            logger.debug("%s: %s.", _who(event), type(event).__name__)


def log_skipped(error: CheckpointError) -> None:
    """Warn that a snapshot is passed over for an older one."""
    logger.warning("An older snapshot is used, since this one cannot be: %s", error)


def _who(event: Event) -> str:
    return event.flow if event.run_id is None else f"{event.flow}[{event.run_id!r}]"
