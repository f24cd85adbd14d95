"""A failed attempt at a step: the note for the user, the record for the stored header."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from aiocheckpoint._errors.messages import reset_call
from aiocheckpoint._model.failure_texts import CANCELLATIONS, beginning_of_note, failure_of
from aiocheckpoint.errors import LeaseLostError

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header, Status

__all__ = ["StepFailure", "add_note_once"]


class StepFailure:
    """An exception that ended an attempt at a step.

    Args:
        error: The exception.
        step: Name of the step.
        part: "limiter", "load", "step", "save" or "snapshot".
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
        return isinstance(self.error, CANCELLATIONS)

    def note(
        self, index: int, of: int, location: str, stored: Header | None, *, older: bool = False
    ) -> str:
        """The note for the user: the step and part, the checkpoint, and how to resume.

        Args:
            index: Index of the step.
            of: The number of steps.
            location: Where the checkpoint is.
            stored: Its header, or None where it was deleted.
            older: Whether it is still that of an older version of the flow.
        """
        broke = f"{'was cancelled' if self.cancelled else 'broke'} in its part {self.part!r}"
        if self.cancelled and not older and self._is_done(index, stored):
            broke = "was done when the run was cancelled"
        remedy = self._remedy(index, location, stored, older=older)
        return f"{beginning_of_note(self.step, index, of)}{broke}. {remedy}"

    def _is_done(self, index: int, stored: Header | None) -> bool:
        """Whether the stored snapshot is the one behind the step."""
        if self.part != "snapshot" or stored is None:
            return False
        return stored.finished or stored.position == index + 1

    def _remedy(self, index: int, location: str, stored: Header | None, *, older: bool) -> str:
        # Nothing is to be mended, and no run of another process is to be forgotten.
        if isinstance(self.error, LeaseLostError) and self.error.path == location:
            return (
                f"Another process may go on with the run in {location}. Nothing of this attempt "
                "was stored. Run again: it resumes from the stored state, or names the owner."
            )
        mend = "Run again" if self.cancelled else "Mend it and run again"
        if stored is None:
            return (
                f"Nothing is stored in {location} any more: it was deleted or moved. {mend}: it "
                "starts at the first step."
            )
        if stored.finished:
            return f"The run is finished, and the checkpoint in {location} holds its final state."
        if older:
            after = f"as version {stored.version} left it. {mend}: migrate= takes it on again"
        elif stored.position not in {index, index + 1}:
            after = (
                f"of position {stored.position}, which another program has put there. {mend}: it "
                "resumes there"
            )
        elif stored.position != index:
            after = f"after {self.step!r}. Run again: it resumes behind that step"
        else:
            after = f"as it was before {self.step!r}. {mend}: it resumes there"
        reset = reset_call(stored.run_id)
        return f"The checkpoint in {location} holds the state {after}. {reset} starts over."

    def recorded_in(self, header: Header, due: float | None = None) -> Header:
        """The header of the stored snapshot with this failure in it.

        Args:
            header: The stored header.
            due: When the run is due again, for the failure that ends it.
        """
        failure = failure_of(
            self.error,
            step=self.step,
            part=self.part,
            at=time.time(),
            seconds=self.seconds,
            attempt=self.attempt,
        )
        return header.ended(self._status, at=failure.at, failure=failure, due=due)

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
