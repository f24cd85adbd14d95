"""The runs that a display follows: where they are, and what earlier runs needed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from aiocheckpoint._display.live.runs_figures import failure_line, not_begun_shown
from aiocheckpoint._display.times import now
from aiocheckpoint.look._live_runs import LiveRun, LiveRuns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiocheckpoint._display.live.displays import DisplaySubject
    from aiocheckpoint._model.followers import RunFacts
    from aiocheckpoint.events import Event
    from aiocheckpoint.look import RunView
    from aiocheckpoint.look._live_runs import LiveCounts

__all__ = ["MOST_FAILURES", "FollowedRun", "FollowedRuns"]

MOST_FAILURES = 10
"""The newest failures that are listed."""
_MOST_NEWS = 100
"""Failures that wait to be shown. There are few, unless a terminal hangs."""


class FollowedRun:
    """One run, as it is at the moment.

    Args:
        shown: What the display shows.
    """

    def __init__(self, shown: DisplaySubject) -> None:
        self._run = LiveRun(shown.flow, shown.run_id, shown.location)
        self._expected: Callable[[], Mapping[str, float]] | None = shown.expected

    @property
    def place(self) -> object:
        """Where the run is. Another value where it is elsewhere."""
        return self._run.place

    @property
    def marks(self) -> object:
        """What there is to show. Another value where there is something new."""
        return self._run.marks

    def follow(self, run: RunFacts) -> None:
        """Take the run, which begins now."""
        self._run.follow(run)

    def take(self, event: Event) -> None:
        """Take a rare event, in any thread."""
        self._run.take(event)

    def end(self, error: BaseException | None) -> None:
        """Take the exception that ends the call, or None."""
        if error is not None:
            self._run.ended(error)

    def view(self) -> RunView:
        """Give the run. At first this may read how long earlier runs took."""
        run = self._run.view()
        expected, self._expected = self._expected, None
        if expected is None or run.expected:
            return run
        self._run.expect(expected())
        return self._run.view()


class FollowedRuns:
    """Many runs in one display.

    Args:
        shown: What the display shows.

    Attributes:
        total: The number of all, or None where it is unknown.
        began: When the first event came, in seconds since the epoch. 0.0 before.
        failures: The newest failures, as lines.
        is_over: Whether the call has ended.
        is_cut: Whether an exception has ended it, so that some runs may not have begun.
    """

    def __init__(self, shown: DisplaySubject) -> None:
        self._runs = LiveRuns()
        self._news: deque[str] = deque(maxlen=_MOST_NEWS)
        self.total: int | None = shown.total
        self.began: float = 0.0
        self.failures: deque[str] = deque(maxlen=MOST_FAILURES)
        self.is_over = self.is_cut = False

    @property
    def place(self) -> object:
        """Where the runs are. Another value where the slowest is elsewhere, or one has ended."""
        counts = self.counts()
        slowest = counts.slowest
        at = None if slowest is None else (slowest.flow, slowest.run_id, slowest.index)
        return counts.running, counts.ended, at

    @property
    def marks(self) -> object:
        """Nothing: events tell what there is to show."""
        return None

    def follow(self, run: RunFacts) -> None:
        """Take a run that begins now."""
        self._runs.follow(run)

    def take(self, event: Event) -> None:
        """Take a rare event, in any thread."""
        self.began = self.began or now()
        self._runs.take(event)
        failure = failure_line(event)
        if failure is not None:
            self.failures.append(failure)
            self._news.append(failure)

    def end(self, error: BaseException | None) -> None:
        """Take the exception that ends the call, or None. No run of it is in progress any more."""
        self._runs.end_all("failed" if error is None else "cancelled")
        self.is_over, self.is_cut = True, error is not None

    def left(self, counts: LiveCounts) -> float | None:
        """Seconds until the last run ends. None where that is unknown, and at the end."""
        return None if self.is_over else counts.seconds_left(self.total)

    def not_begun(self, counts: LiveCounts) -> str:
        """Say how many runs an interrupted call has not begun. "" for none."""
        return not_begun_shown(counts, self.total) if self.is_cut else ""

    def counts(self) -> LiveCounts:
        """Count them."""
        return self._runs.counts()

    def news(self) -> list[str]:
        """Give the failures since the last time."""
        return [self._news.popleft() for _ in range(len(self._news))]
