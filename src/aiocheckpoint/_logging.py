"""Logs the events of runs on the logger `aiocheckpoint`, without their classes.

The module of the classes takes 5 ms to import, and a run without hooks does not need it.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from aiocheckpoint._model.header import Header
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
"""The size from which on a snapshot should not be written after every step: a disk of 1 GB a second
needs a tenth of a second for it."""

logger = logging.getLogger("aiocheckpoint")


def is_logged() -> bool:
    """Whether events at INFO are logged. If not, only warnings need to be emitted."""
    return logger.isEnabledFor(logging.INFO)


def log_event(kind: str, flow: str, run_id: str | None, facts: Mapping[str, Any]) -> None:
    """Log an event: runs, steps and failures at INFO, surprises at WARNING, the rest at DEBUG.

    A failure is logged at INFO because the caller gets the exception itself.

    Args:
        kind: Name of its class in `aiocheckpoint.events`.
        flow: Name of the flow.
        run_id: The run's id, or None.
        facts: The other attributes of the event.
    """
    who = flow if run_id is None else f"{flow}[{run_id!r}]"
    match kind:
        case "RunStarted":
            plan = facts["plan"]
            level = logging.WARNING if plan.ignores_given else logging.INFO
            logger.log(level, "%s: run %d. %s", who, facts["number"], plan)
        case "StepFinished":
            _log_finished(who, facts)
        case "SnapshotSkipped":
            log_skipped(facts["error"])
        case "StepFailed":
            verb = "was cancelled" if facts["cancelled"] else "failed"
            logger.info(
                "%s: step %r %s in its part %r with %s.",
                *(who, facts["step"], verb, facts["part"], type(facts["error"]).__name__),
            )
        case "AttemptFailed":
            logger.info(
                "%s: attempt %d at step %r failed in its part %r with %s.",
                *(who, facts["attempt"], facts["step"], facts["part"]),
                type(facts["error"]).__name__,
            )
        case "SnapshotWritten":
            logger.debug("%s: snapshot of %d bytes written.", who, facts["bytes"])
        case "RunFinished":
            logger.info("%s: run %d %s.", who, facts["number"], facts["status"])
        case _:
            logger.debug("%s: %s.", who, kind)


def _log_finished(who: str, facts: Mapping[str, Any]) -> None:
    if facts["result_ignored"]:
        logger.warning(
            "%s: the return value of step %r is not kept; change `state` in place.",
            who,
            facts["step"],
        )
    else:
        seconds = sum(facts["seconds"].values())
        logger.info("%s: step %r took %.3f s.", who, facts["step"], seconds)


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
