"""An exception as text, as headers and displays have it."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING

from aiocheckpoint._model.header import Failure
from aiocheckpoint._tracebacks import user_frames

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "CANCELLATIONS",
    "MISSING_KEY",
    "NOTE_OF_STEP",
    "NOT_RECORDED",
    "beginning_of_note",
    "beginnings_of_notes",
    "failure_of",
    "safe_text",
]

CANCELLATIONS = (asyncio.CancelledError, KeyboardInterrupt)
"""Exceptions that cancel or interrupt a run. Any other one fails it."""

NOTE_OF_STEP = "aiocheckpoint: step "
"""The beginning of the note on the exception of any step."""
MISSING_KEY = "aiocheckpoint: `data` has no "
"""The beginning of the note on a missing key of `data`."""
NOT_RECORDED = "aiocheckpoint: this failure is not recorded in the checkpoint, because "
"""The beginning of the note on a failure that could not be stored."""
_LONGEST_TEXT = 50_000


def beginning_of_note(step: str, index: int, of: int) -> str:
    """The beginning of the note that the exception of a step gets.

    Args:
        step: Name of the step.
        index: Its index.
        of: The number of steps.
    """
    return f"{NOTE_OF_STEP}{index + 1} of {of}, {step!r}, "


def beginnings_of_notes(step: str, index: int, of: int) -> tuple[str, ...]:
    """The beginnings of those notes of ours on a failure that are not stored with it."""
    return beginning_of_note(step, index, of), NOT_RECORDED


def failure_of(
    error: BaseException,
    *,
    step: str,
    part: str,
    at: float,
    seconds: float,
    attempt: int,
    without_notes: tuple[str, ...] = (),
) -> Failure:
    """Make the record of an exception that ended an attempt at a step.

    Args:
        error: The exception.
        step: Name of the step.
        part: "limiter", "load", "step", "save" or "snapshot".
        at: When it was raised, in seconds since the epoch.
        seconds: How long the attempt had been running.
        attempt: Number of the attempt.
        without_notes: Beginnings of notes on the exception that are left out.
    """
    kind = type(error)
    return Failure(
        step=step,
        part=part,
        type=f"{kind.__module__}.{kind.__qualname__}",
        message=safe_text(lambda: str(error)),
        traceback=safe_text(lambda: _formatted(error, without_notes)),
        at=at,
        seconds=seconds,
        attempt=attempt,
    )


def safe_text(make: Callable[[], str]) -> str:
    """The last part of a text made by a user's object, whose methods may raise anything."""
    try:
        return make()[-_LONGEST_TEXT:]
    except Exception as error:  # noqa: BLE001
        return f"<no text: {type(error).__name__}>"


def _formatted(error: BaseException, without_notes: tuple[str, ...]) -> str:
    told = traceback.TracebackException(type(error), error, user_frames(error), compact=True)
    notes: object = getattr(told, "__notes__", None)
    if without_notes and isinstance(notes, (list, tuple)):
        kept = [one for one in notes if not str(one).startswith(without_notes)]
        told.__notes__ = kept
    return "".join(told.format())
