"""Logs the events of runs on the logger `aiocheckpoint`."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from aiocheckpoint.events import (
    AttemptFailed,
    RunFinished,
    RunStarted,
    SnapshotSkipped,
    SnapshotWritten,
    StepFailed,
    StepFinished,
)

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header
    from aiocheckpoint.errors import CheckpointError
    from aiocheckpoint.events import Event

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
"""A larger snapshot should not be written after every step.

A disk of 1 GB a second needs a tenth of a second for it.
"""

logger = logging.getLogger("aiocheckpoint")


def is_logged() -> bool:
    """Whether events at INFO are logged. If not, only warnings need to be emitted."""
    return logger.isEnabledFor(logging.INFO)


def log_event(event: Event) -> None:
    """Log an event.

    Runs, steps and failures are logged at INFO, surprises at WARNING, and the rest at DEBUG. A
    failure is logged at INFO because the caller gets the exception itself.
    """
    flow = event.flow if event.run_id is None else f"{event.flow}[{event.run_id!r}]"
    match event:
        case RunStarted():
            level = logging.WARNING if event.plan.ignores_given else logging.INFO
            logger.log(level, "%s: run %d. %s", flow, event.number, event.plan)
        case StepFinished():
            _log_finished(flow, event)
        case SnapshotWritten():
            logger.debug("%s: snapshot of %d bytes written.", flow, event.bytes)
        case RunFinished():
            logger.info("%s: run %d %s.", flow, event.number, event.status)
        case SnapshotSkipped():
            log_skipped(event.error)
        case StepFailed():
            _log_failed(flow, event)
        case AttemptFailed():
            logger.info(
                "%s: attempt %d at step %r failed in its part %r with %s.",
                *(flow, event.attempt, event.step, event.part, type(event.error).__name__),
            )
        case _:
            logger.debug("%s: %s.", flow, type(event).__name__)


def _log_finished(flow: str, event: StepFinished) -> None:
    if event.result_ignored:
        logger.warning(
            "%s: the return value of step %r is not kept; change `state` in place.",
            flow,
            event.step,
        )
    else:
        seconds = sum(event.seconds.values())
        logger.info("%s: step %r took %.3f s.", flow, event.step, seconds)


def _log_failed(flow: str, event: StepFailed) -> None:
    verb = "was cancelled" if event.cancelled else "failed"
    logger.info(
        "%s: step %r %s in its part %r with %s.",
        *(flow, event.step, verb, event.part, type(event.error).__name__),
    )


def warn_large(header: Header, size: int, location: str) -> None:
    """Warn of a snapshot that is too large to be written after every step."""
    found = os.path.isfile(location)
    hint = f"; aiocheckpoint.inspect({location!r}).sizes has the bytes of each" if found else ""
    logger.warning(
        "%s: a snapshot has %d MB, and one is written after every step. Keep large values in "
        "`data`, with a loader and a saver%s.",
        *(header.flow, size // 1_000_000, hint),
    )


# The errors below are logged as text: a log record that is kept would keep the error, its
# traceback, and so the handler with an open database.


def log_skipped(error: CheckpointError) -> None:
    """Warn that an older snapshot is used in place of the newest one."""
    logger.warning("An older snapshot is used, since this one cannot be: %s", str(error))


def log_left_out(error: CheckpointError) -> None:
    """Warn that a run is left out of a list."""
    logger.warning("A run is left out of the list, since it cannot be read: %s", str(error))
