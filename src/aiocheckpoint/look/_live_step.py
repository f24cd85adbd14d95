"""What a live view knows of the step in progress, and of the names of the steps."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.step_names import BESIDE, MOST_NAMES, StepNamesExcerpt
from aiocheckpoint.look._step_pace import StepPace

if TYPE_CHECKING:
    from aiocheckpoint._model.current_step import Progress
    from aiocheckpoint.events import StepEvent
    from aiocheckpoint.look._records import StepView

__all__ = ["LiveNames", "LiveStep"]


class LiveStep:
    """The attempt at a step that is in progress, or was the last.

    Args:
        index: Index of the step.
        attempt: Number of the attempt.
        began: When the attempt began, in seconds since the epoch.
        from_zero: Whether it began with nothing done. Not where it may go on at a cursor.
    """

    def __init__(self, index: int, attempt: int, *, began: float, from_zero: bool) -> None:
        self.index, self.attempt = index, attempt
        self._began = began
        self._from = time.monotonic() - (time.time() - began), from_zero
        self._pace: StepPace | None = None
        self._report: Progress | None = None

    def report(self, progress: Progress) -> None:
        """Take a report of its progress."""
        self._report = progress
        if self._pace is None:
            began, from_zero = self._from
            self._pace = StepPace(began, from_zero=from_zero)
        self._pace.report(progress.done, progress.total, time.monotonic())

    def take(self, progress: Progress | None) -> None:
        """Take what it has said last of its progress. The same once more is no further report."""
        if progress is not None and progress != self._report and self._began:
            self.report(progress)

    def end(self) -> None:
        """Note that it has ended, or waits for the next attempt. What was done stays known."""
        self._began = 0.0

    def shown(self, step: StepView) -> StepView:
        """The view of the step with what is known of the attempt."""
        report, left = self._report, None
        if self._began and self._pace is not None:
            left = self._pace.seconds_left(time.monotonic())
        facts: dict[str, Any] = {"began": self._began}
        if report is not None:
            facts |= {"done": report.done, "total": report.total, "note": report.note}
        return replace(step, **facts, ends_at=0.0 if left is None else time.time() + left)


class LiveNames:
    """The names of a flow's steps: all, or those next to each other that events have named.

    Args:
        names: All of them, or None where they are not known.
    """

    def __init__(self, names: tuple[str, ...] | None = None) -> None:
        self._all, self._begin, self._seen = names, 0, names or ()
        self.count: int | None = None if names is None else len(names)

    def add(self, event: StepEvent) -> None:
        """Take the name from an event of a step, where not all are known."""
        self.count = event.of
        self._note(event.index, event.step)

    def note(self, index: int, name: str | None) -> None:
        """Take the name of the step at which a run stands."""
        if self._all is None and name is not None and self.at(index) is None:
            self._note(index, name)

    def at(self, index: int) -> str | None:
        """Name of a step, or None where it is not known."""
        offset = index - self._begin
        return self._seen[offset] if 0 <= offset < len(self._seen) else None

    def recorded(self, position: int, *, is_finished: bool) -> dict[str, Any]:
        """The attributes of a header with the names, as far as it would list them."""
        if self._all is not None and len(self._all) <= MOST_NAMES:
            return {"steps": self._all, "excerpt": None}
        if self.count is None:
            return {"steps": None, "excerpt": None}
        done = self.count if is_finished else min(position, self.count)
        begin = max(self._begin, done - BESIDE)
        names = self._seen[begin - self._begin : max(0, done + BESIDE - self._begin)]
        excerpt = StepNamesExcerpt(
            count=self.count, begin=begin, names=names, done=done, before="", whole=""
        )
        return {"steps": None, "excerpt": excerpt}

    def _note(self, index: int, name: str) -> None:
        known = self.at(index)
        if known is None and index == self._begin + len(self._seen):
            self._seen = (*self._seen, name)[-MOST_NAMES:]
            self._begin = index + 1 - len(self._seen)
        elif known != name:
            self._begin, self._seen = index, (name,)
