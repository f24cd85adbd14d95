"""The progress of a step that is executed elsewhere, on its way back to the run.

On the machine of the run it comes by datagrams while the step runs. In the process of the run it is
told as it is. From another machine it comes with the end of the step.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, Protocol

from aiocheckpoint._engine.progress_datagrams import forget, listen_for, send
from aiocheckpoint._engine.progress_timer import call_at

if TYPE_CHECKING:
    from aiocheckpoint._model.current_step import Progress, StepReports

__all__ = ["DistantReports", "ProgressChannel", "SentProgress"]

_SECONDS = 0.1
"""Between two values that are sent."""


class LocalStep(Protocol):
    """The step in the process of its run. See `StepProgress`."""

    @property
    def latest(self) -> Progress | None:
        """What it has said last, or None."""
        ...

    @property
    def reports(self) -> StepReports | None:
        """Takes what it says. None where it has said nothing yet."""
        ...

    def make_reports(self) -> StepReports:
        """Make what takes it."""
        ...


class ProgressChannel(Protocol):
    """Takes progress where the step is executed."""

    def begin(self) -> None:
        """Note that the call has begun."""

    def open(self, cursor: str | None) -> StepReports:
        """Give what takes the progress of the step.

        Args:
            cursor: The cursor that the step begins with.
        """
        ...


class SentProgress:
    """The end of the channel in the process of the run.

    A copy made by pickle is the other end.

    Args:
        step: The step.

    Attributes:
        has_begun: Whether the call is known to have begun.
    """

    def __init__(self, step: LocalStep) -> None:
        self.has_begun: bool = False
        self._step: LocalStep | None = step
        self._token = secrets.token_hex(8)

    def begin(self) -> None:
        """Note that the call has begun, in this process."""
        self.has_begun = True

    def open(self, cursor: str | None) -> StepReports:  # noqa: ARG002 - the run has it
        """Give what takes the progress, in this process."""
        step = self._step
        if step is None:  # The run waits no more for this call.
            return DistantReports(None, self._token, None)
        return step.reports or step.make_reports()

    def close(self) -> None:
        """Let nothing more come in."""
        self._step = None
        forget(self._token)

    def take(self, message: dict[str, Any]) -> None:
        """Take a message of the other end, in the thread that listens."""
        self.has_begun = True
        if "done" in message:
            self.take_over((message["done"], message["total"], message["note"]), message["cursor"])

    def take_over(
        self, latest: tuple[float, float | None, str | None] | None, cursor: str | None
    ) -> None:
        """Take what the step has said last, unless it has come before."""
        step = self._step
        if step is None or latest is None:
            return
        reports = step.reports
        if reports is None or step.latest != latest or cursor not in {None, reports.cursor}:
            (reports or step.make_reports()).report(*latest, cursor)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the other end, which knows where this one listens."""
        return _DistantChannel, (listen_for(self._token, self), self._token)


class _DistantChannel:
    """The end of the channel where the step is executed.

    Args:
        address: Where the run listens, or None where it cannot.
        token: The name of the call.
    """

    def __init__(self, address: str | None, token: str) -> None:
        self._address, self._token = address, token

    def __reduce__(self) -> tuple[object, ...]:
        return _DistantChannel, (self._address, self._token)

    def begin(self) -> None:
        if self._address is not None:
            send(self._address, {"token": self._token})

    def open(self, cursor: str | None) -> StepReports:
        return DistantReports(self._address, self._token, cursor)


class DistantReports:
    """Takes the progress of a step, and sends it to the run at most ten times a second.

    Args:
        address: Where the run listens, or None.
        token: The name of the call.
        cursor: The cursor that the step begins with.

    Attributes:
        cursor: The last cursor as JSON, or None.
        latest: What the step has said last, or None.
    """

    def __init__(self, address: str | None, token: str, cursor: str | None) -> None:
        self.cursor: str | None = cursor
        self.latest: tuple[float, float | None, str | None] | None = None
        self._address, self._token = address, token
        self._sent_at = self._due = float("-inf")

    def report(
        self, done: float, total: float | None, note: str | None, cursor: str | None
    ) -> None:
        """Take the progress of a step. `cursor` is None where it stays as it is."""
        self.latest = (done, total, note)
        if cursor is not None:
            self.cursor = cursor
        if self._address is None:
            return
        now = time.monotonic()
        if now - self._sent_at >= _SECONDS:
            self._tell(now)
        elif self._due < now - 1.0:
            self._due = self._sent_at + _SECONDS
            call_at(self, self._due)

    def on_time(self) -> None:
        """Send the value that has waited for its time. Called by the timer."""
        self._due = float("-inf")
        self._tell(time.monotonic())

    def _tell(self, now: float) -> None:
        if self._address is not None and self.latest is not None:
            self._sent_at = now
            words = dict(zip(("done", "total", "note"), self.latest, strict=True))
            send(self._address, {"token": self._token, "cursor": self.cursor, **words})
