"""Progress as plain lines on stderr: in a pipe, in a log, and where rich is not installed."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from aiocheckpoint._display.figures import amount_shown, first_line, percent, share_of
from aiocheckpoint._display.live.followed import FollowedRuns
from aiocheckpoint._display.live.runs_figures import ends_shown, failure_line
from aiocheckpoint._display.run_facts import run_shown
from aiocheckpoint._display.times import stopwatch, took
from aiocheckpoint._texts import harmless
from aiocheckpoint.events import (
    AttemptFailed,
    RunFinished,
    RunTerminated,
    StepEvent,
    StepFailed,
    StepFinished,
    StepPaused,
    StepProgressed,
    StepStarted,
)

if TYPE_CHECKING:
    from aiocheckpoint._display.live.displays import Display, DisplaySubject
    from aiocheckpoint.events import Event

__all__ = ["make_lines"]

LINE_SECONDS = 10.0
"""The least time between two lines about the progress of one step, or of many runs."""


def make_lines(shown: DisplaySubject) -> Display:
    """Make the display by lines of one call of a flow."""
    return _RunsLines(shown) if shown.many else _RunLines(shown)


class _Lines:
    """Prints lines on stderr."""

    def __init__(self) -> None:
        self._due = 0.0

    def say(self, line: str) -> None:
        """Print a line."""
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def is_due(self) -> bool:
        """Whether the last such line was long ago."""
        now = time.monotonic()
        if now < self._due:
            return False
        self.wait()
        return True

    def wait(self) -> None:
        """Let the next such line come later."""
        self._due = time.monotonic() + LINE_SECONDS


class _RunLines:
    """A line for each end of a step, and for its progress now and then."""

    def __init__(self, shown: DisplaySubject) -> None:
        self._lines = _Lines()
        self._run = "" if shown.run_id is None else f"{harmless(shown.run_id)} "

    def hear(self, event: Event) -> None:
        """Take an event."""
        match event:
            case StepStarted():
                self._lines.wait()
            case StepProgressed():
                if self._lines.is_due():
                    self._say(event, _progress_words(event))
            case StepEvent():
                words = _step_words(event)
                if words:
                    self._say(event, words)
            case _:
                words = _run_words(event)
                if words:
                    self._lines.say(f"{self._run or run_shown(event.flow, None) + ' '}{words}")

    def close(self, error: BaseException | None) -> None:
        """Each line is said already."""

    def _say(self, event: StepEvent, words: str) -> None:
        number = f"[{event.index + 1}/{event.of}]"
        self._lines.say(f"{self._run}{number} {harmless(event.step)}: {words}")


def _progress_words(event: StepProgressed) -> str:
    share = share_of(event.done, event.total)
    if share is not None:
        return percent(share)
    return amount_shown(event.done, event.total, event.note)


def _step_words(event: StepEvent) -> str:
    match event:
        case StepFinished():
            return f"done in {took(sum(event.seconds.values()))}"
        case AttemptFailed():
            return f"attempt {event.attempt} failed: {type(event.error).__name__}"
        case StepFailed():
            verb = "cancelled" if event.cancelled else "failed"
            return f"{verb} after {stopwatch(event.seconds)}: {type(event.error).__name__}"
        case StepPaused():
            return f"paused: {first_line(event.reason)}"
        case _:
            return ""


def _run_words(event: Event) -> str:
    match event:
        case RunFinished(status="paused"):  # Its step has said so.
            return ""
        case RunFinished():
            return f"{event.status} after {stopwatch(event.seconds)}"
        case RunTerminated():
            return f"terminated: {first_line(event.reason)}"
        case _:
            return ""


class _RunsLines:
    """A line for each failure, and one for all runs now and then."""

    def __init__(self, shown: DisplaySubject) -> None:
        self._lines, self._flow = _Lines(), harmless(shown.flow)
        self._runs = FollowedRuns(shown)

    def hear(self, event: Event) -> None:
        """Take an event."""
        if not self._runs.began:
            self._lines.wait()
        self._runs.take(event)
        failure = failure_line(event)
        if failure is not None:
            self._lines.say(failure)
        elif self._lines.is_due():
            self._say_counts()

    def close(self, error: BaseException | None) -> None:
        """Say how all have ended."""
        self._runs.end(error)
        if self._runs.began:
            self._say_counts()

    def _say_counts(self) -> None:
        runs = self._runs
        ends = ends_shown(runs.counts(), runs.total, is_cut=runs.is_cut)
        self._lines.say(f"{self._flow}: {ends}")
