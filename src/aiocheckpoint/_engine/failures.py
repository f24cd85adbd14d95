"""A failed attempt at a step: the note for the user, the record for the stored header."""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING

from aiocheckpoint._model.header import Failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from aiocheckpoint._model.header import Header, Status

__all__ = ["StepFailure", "add_note_once", "safe_text"]

_LONGEST_TEXT = 50_000
_INTERNAL_PREFIXES = ("aiocheckpoint.", "asyncio.", "concurrent.futures.")


class StepFailure:
    """An exception that ended an attempt at a step.

    Args:
        error: The exception.
        step: Name of the step.
        part: "load", "step", "save" or "snapshot".
        seconds: How long the attempt had been running.
        attempt: Number of the attempt.
        last: Whether the exception ends the run, with no further attempt.
    """

    __slots__ = ("attempt", "error", "last", "part", "seconds", "step")

    def __init__(
        self,
        error: BaseException,
        *,
        step: str,
        part: str,
        seconds: float,
        attempt: int,
        last: bool = True,
    ) -> None:
        self.error, self.step, self.part = error, step, part
        self.seconds, self.attempt, self.last = seconds, attempt, last

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled or interrupted, rather than failed."""
        return isinstance(self.error, (asyncio.CancelledError, KeyboardInterrupt))

    def note(self, index: int, of: int, location: str, stored: Header | None) -> str:
        """The note for the user: the step and part, the checkpoint, and how to resume."""
        verb = "was cancelled" if self.cancelled else "broke"
        return (
            f"aiocheckpoint: step {index + 1} of {of}, {self.step!r}, {verb} in its part "
            f"{self.part!r}. {self._remedy(index, location, stored)}"
        )

    def _remedy(self, index: int, location: str, stored: Header | None) -> str:
        mend = "Run again" if self.cancelled else "Mend it and run again"
        if stored is None:
            return (
                f"Nothing is stored in {location} any more: it was deleted or moved. {mend}: it "
                "starts at the first step."
            )
        if not stored.finished and stored.position not in {index, index + 1}:
            after = (
                f"of position {stored.position}, which another program has put there. {mend}: it "
                "resumes there"
            )
        elif stored.position != index or stored.finished:
            after = f"after {self.step!r}. Run again: it resumes behind that step"
        else:
            after = f"as it was before {self.step!r}. {mend}: it resumes there"
        return f"The checkpoint in {location} holds the state {after}; checkpoint=0 starts over."

    def recorded_in(self, header: Header) -> Header:
        """The header of the stored snapshot with this failure in it."""
        kind = type(self.error)
        failure = Failure(
            step=self.step,
            part=self.part,
            type=f"{kind.__module__}.{kind.__qualname__}",
            message=safe_text(lambda: str(self.error)),
            traceback=safe_text(lambda: "".join(_formatted(self.error))),
            at=time.time(),
            seconds=self.seconds,
            attempt=self.attempt,
        )
        return replace(
            header,
            status=self._status,
            failure=failure,
            pause=None,
            sequence=header.sequence + 1,
            written_at=failure.at,
        )

    @property
    def _status(self) -> Status:
        if not self.last:
            return "running"
        return "cancelled" if self.cancelled else "failed"


def add_note_once(error: BaseException, text: str) -> None:
    """Add a note to an exception, unless it has the same one."""
    # A frozen dataclass, for one, refuses the attribute that holds the notes.
    with contextlib.suppress(Exception):
        if text not in getattr(error, "__notes__", ()):
            error.add_note(text)


def safe_text(make: Callable[[], str]) -> str:
    """The last part of a text made by a user's object, whose methods may raise anything."""
    try:
        return make()[-_LONGEST_TEXT:]
    except Exception as error:  # noqa: BLE001
        return f"<no text: {type(error).__name__}>"


def _formatted(error: BaseException) -> list[str]:
    tb = _user_traceback(error.__traceback__) or error.__traceback__
    return traceback.format_exception(type(error), error, tb)


def _user_traceback(tb: TracebackType | None) -> TracebackType | None:
    """The traceback from the user's function on, without the frames that called it."""
    while tb and f"{tb.tb_frame.f_globals.get('__name__', '')}.".startswith(_INTERNAL_PREFIXES):
        tb = tb.tb_next
    return tb
