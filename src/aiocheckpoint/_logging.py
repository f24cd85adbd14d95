"""The hook that writes events to the logger `aiocheckpoint`."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from aiocheckpoint.events import (
    AttemptFailed,
    Event,
    RunFinished,
    RunStarted,
    SnapshotSkipped,
    SnapshotWritten,
    StepFailed,
    StepFinished,
)

if TYPE_CHECKING:
    from aiocheckpoint._header import Header
    from aiocheckpoint.errors import CheckpointError

__all__ = [
    "LARGE_BYTES",
    "is_logged",
    "log_event",
    "log_left_out",
    "log_skipped",
    "logger",
    "warn_large",
]

LARGE_BYTES = 100_000_000
"""From this size on a snapshot should not be written after every step: it takes a disk of 1 GB a
second a tenth of a second."""

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
        case AttemptFailed():
            logger.info(
                "%s: attempt %d at step %r failed in its part %r with %s.",
                *(_who(event), event.attempt, event.step, event.part, type(event.error).__name__),
            )
        case SnapshotWritten():
            logger.debug("%s: snapshot of %d bytes written.", _who(event), event.bytes)
        case RunFinished():
            logger.info("%s: run %d %s.", _who(event), event.number, event.status)
        case _:
            logger.debug("%s: %s.", _who(event), type(event).__name__)


def warn_large(header: Header, size: int, location: str) -> None:
    """Warn of a snapshot so large that it should not be written anew after every step."""
    found = os.path.isfile(location)
    hint = f"; aiocheckpoint.inspect({location!r}).sizes tells which they are" if found else ""
    logger.warning(
        "%s: a snapshot has %d MB, and one is written after every step. Keep large values in "
        "`data`, with a loader and a saver%s.",
        *(header.flow, size // 1_000_000, hint),
    )


# Whoever keeps a log record keeps what it was made of; an error would keep, by its traceback, the
# handler, and with it an open database.


def log_skipped(error: CheckpointError) -> None:
    """Warn that a snapshot is passed over for an older one."""
    logger.warning("An older snapshot is used, since this one cannot be: %s", str(error))


def log_left_out(error: CheckpointError) -> None:
    """Warn that a run is left out of a list."""
    logger.warning("A run is left out of the list, since it cannot be read: %s", str(error))


def _who(event: Event) -> str:
    return event.flow if event.run_id is None else f"{event.flow}[{event.run_id!r}]"
