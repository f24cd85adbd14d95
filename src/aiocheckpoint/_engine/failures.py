"""The account of what came out of a step: a note for the user, a record for the header."""

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

__all__ = ["StepFailure", "put_note", "shortened"]

_LONGEST_TEXT = 50_000
_PLUMBING = ("aiocheckpoint.", "asyncio.", "concurrent.futures.")


class StepFailure:
    """An exception that ends a run.

    Args:
        error: The exception.
        step: Name of the step that was under way.
        part: "load", "step", "save" or "snapshot".
        seconds: How long the step had been running.
        attempt: Which attempt at the step it was.
        last: Whether it ends the run, and there is no further attempt.
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
        """Whether somebody stopped the run, rather than that it failed."""
        return isinstance(self.error, (asyncio.CancelledError, KeyboardInterrupt))

    def account(self, index: int, of: int, location: str, *, done: bool) -> str:
        """Tell the user where it was, where the checkpoint is, and how to go on."""
        verb = "was cancelled" if self.cancelled else "broke"
        mend = "Run again" if self.cancelled else "Mend it and run again"
        if done:
            after = f"after {self.step!r}. Run again: it goes on behind that"
        else:
            after = f"as it was before {self.step!r}. {mend}: it goes on there"
        return (
            f"aiocheckpoint: step {index + 1} of {of}, {self.step!r}, {verb} in its part "
            f"{self.part!r}. The checkpoint in {location} holds the state {after}; checkpoint=0 "
            "starts over."
        )

    def recorded_in(self, header: Header) -> Header:
        """Give the header of the stored snapshot with this written into it."""
        kind = type(self.error)
        failure = Failure(
            step=self.step,
            part=self.part,
            type=f"{kind.__module__}.{kind.__qualname__}",
            message=shortened(lambda: str(self.error)),
            traceback=shortened(lambda: "".join(_formatted(self.error))),
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


def put_note(error: BaseException, text: str) -> None:
    """Add a note to an exception, once."""
    # A frozen dataclass, for one, refuses the attribute that a note is.
    with contextlib.suppress(Exception):
        if text not in getattr(error, "__notes__", ()):
            error.add_note(text)


def _formatted(error: BaseException) -> list[str]:
    tb = _users_part(error.__traceback__) or error.__traceback__
    return traceback.format_exception(type(error), error, tb)


def _users_part(tb: TracebackType | None) -> TracebackType | None:
    """Drop the frames through which the library called the user's function."""
    while tb and f"{tb.tb_frame.f_globals.get('__name__', '')}.".startswith(_PLUMBING):
        tb = tb.tb_next
    return tb


def shortened(make: Callable[[], str]) -> str:
    """Text of a foreign object, shortened; its methods may raise anything."""
    try:
        return make()[-_LONGEST_TEXT:]
    except Exception as error:  # noqa: BLE001
        return f"<no text: {type(error).__name__}>"
