"""Logs the events of runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aiocheckpoint._logging import log, log_skipped, place_of
from aiocheckpoint.errors import LeaseLostError, StorageError, UnserializableStateError
from aiocheckpoint.events import (
    AttemptFailed,
    RunFinished,
    RunStarted,
    RunSubmitted,
    RunTerminated,
    SnapshotSkipped,
    SnapshotWritten,
    StepFailed,
    StepFinished,
)

if TYPE_CHECKING:
    from aiocheckpoint._logging import RunPlace
    from aiocheckpoint.events import Event

__all__ = ["log_event"]


def log_event(event: Event, *, unattended: bool = False) -> None:
    """Log an event.

    Runs, steps and failures are logged at INFO, surprises and failed attempts at WARNING, and the
    rest at DEBUG. A failure is logged at INFO because the caller gets the exception itself.

    Args:
        event: The event.
        unattended: Whether no caller gets the exception. A failure is logged at ERROR then.
    """
    place = place_of(event.flow, event.run_id)
    match event:
        case RunStarted():
            level = logging.WARNING if event.plan.needs_warning else logging.INFO
            log(level, place, "%s: run %d. %s", place.run, event.number, event.plan)
        case RunSubmitted():
            words = f"%s: run %d {'made due again' if event.requeued else 'queued'}%s"
            log(logging.INFO, place, words, place.run, event.number, _why(event.reason))
        case StepFinished():
            _log_finished(place, event)
        case SnapshotWritten():
            words = "%s: snapshot of %d bytes written in %.3f s."
            log(logging.DEBUG, place, words, place.run, event.bytes, event.seconds)
        case RunFinished():
            log(logging.INFO, place, "%s: run %d %s.", place.run, event.number, event.status)
        case RunTerminated():
            _log_terminated(place, event)
        case SnapshotSkipped():
            log_skipped(event.error, place)
        case StepFailed():
            _log_failed(place, event, unattended=unattended)
        case AttemptFailed():
            log(
                *(logging.WARNING, place),
                "%s: attempt %d at step %r failed in its part %r with %s.",
                *(place.run, event.attempt, event.step, event.part, type(event.error).__name__),
            )
        case _:
            log(logging.DEBUG, place, "%s: %s.", place.run, type(event).__name__)


def _log_finished(place: RunPlace, event: StepFinished) -> None:
    if event.result_ignored:
        log(
            *(logging.WARNING, place),
            "%s: the return value of step %r is not kept; change `state` in place.",
            *(place.run, event.step),
        )
    else:
        seconds = sum(event.seconds.values())
        log(logging.INFO, place, "%s: step %r took %.3f s.", place.run, event.step, seconds)


def _log_terminated(place: RunPlace, event: RunTerminated) -> None:
    at = "" if event.step is None else f" at step {event.step!r}"
    facts = place.run, event.number, at, event.by, _why(event.reason)
    log(logging.WARNING, place, "%s: run %d was terminated%s, by %r%s", *facts)


def _log_failed(place: RunPlace, event: StepFailed, *, unattended: bool) -> None:
    verb, level, hint = "failed", logging.INFO, ""
    if event.cancelled:
        verb = "was cancelled"
    elif unattended:
        level, hint = logging.ERROR, " Its result has the exception."
        if not _leaves_no_record(event):
            hint += " Its header has the traceback, which `aiocheckpoint show` prints."
    log(
        *(level, place),
        "%s: step %r %s in its part %r with %s.%s",
        *(place.run, event.step, verb, event.part, type(event.error).__name__, hint),
    )


def _leaves_no_record(event: StepFailed) -> bool:
    """Whether the snapshot behind the step could not be stored, which changes nothing stored."""
    kinds = (LeaseLostError, StorageError, UnserializableStateError)
    return event.part == "snapshot" and isinstance(event.error, kinds)


def _why(reason: str | None) -> str:
    """The end of a sentence with a reason, in one line: ESC, say, as in the source of a program."""
    shown = "".join(one if one.isprintable() else repr(one)[1:-1] for one in reason or "")
    return f": {shown}" if shown else "."
