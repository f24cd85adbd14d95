"""What a step says of its progress: kept for its record, and told to listeners and hooks.

Listeners hear it in the thread that has said it, or in that of the timer. A value is told at once
if the last one was told a tenth of a second ago. Else it waits for its time, or for the end of the
attempt, and only the newest one waits.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from aiocheckpoint._engine.progress_timer import call_at
from aiocheckpoint._model.current_step import Progress
from aiocheckpoint.events import StepProgressed

if TYPE_CHECKING:
    from aiocheckpoint._engine.dispatch import EventDispatcher
    from aiocheckpoint._engine.progress_hooks import ProgressForHooks
    from aiocheckpoint._model.current_step import StepInProgress

__all__ = ["ProgressReports"]

_SECONDS = 0.1
"""Between two values that are told."""
_LOST_SECONDS = 1.0
"""A call of the timer that is late by so much does not come: no thread could be started."""


class AttemptInProgress(Protocol):
    """A step at its present attempt."""

    @property
    def step(self) -> str:
        """Its name."""
        ...

    @property
    def attempt(self) -> int:
        """Number of the attempt, from 1."""
        ...

    @property
    def current(self) -> StepInProgress:
        """The step for `current_step()`."""
        ...

    @property
    def event_fields(self) -> dict[str, Any]:
        """The fields that all events of the step have."""
        ...


class ProgressReports:
    """Takes the progress of one step, in any thread.

    Args:
        dispatcher: Emits the events of the run.
        step: The step, at its present attempt.

    Attributes:
        cursor: The cursor as JSON, of this attempt or an earlier one, or None.
        cursor_is_new: Whether it was given since somebody has cleared this.
    """

    cursor: str | None = None
    cursor_is_new: bool = False
    _latest: tuple[float, float | None, str | None] | None = None
    _is_news = False
    _is_over = False
    _told_at = float("-inf")
    _due = float("-inf")
    _for_hooks: ProgressForHooks | None = None

    def __init__(self, dispatcher: EventDispatcher, step: AttemptInProgress) -> None:
        self._dispatcher, self._progress = dispatcher, step

    @property
    def step(self) -> str:
        """Name of the step."""
        return self._progress.step

    @property
    def latest(self) -> Progress | None:
        """What the present attempt has said last, or None."""
        latest = self._latest
        return None if latest is None else Progress(*latest)

    def report(
        self, done: float, total: float | None, note: str | None, cursor: str | None
    ) -> None:
        """Take the progress of a step. `cursor` is None where it stays as it is."""
        self._latest = (done, total, note)
        if cursor is not None:
            self.cursor = cursor
            self.cursor_is_new = True
        # A thread may come here first behind the end of the step, and have made this object.
        has_ended = self._is_over or self._progress.current.facts is None
        if self._dispatcher.hears_progress and not has_ended:
            self._is_news = True
            if time.monotonic() - self._told_at >= _SECONDS:
                self._tell_news()
            else:
                self._call_later()

    def begin(self) -> None:
        """Begin a further attempt. The cursor stays."""
        self._latest, self._is_news = None, False
        self._is_over = False

    def end(self, *, breaks_off: bool) -> None:
        """Tell the last value of the attempt, in the thread of the run, and no further one.

        Args:
            breaks_off: Whether a hook that is at an earlier value is cancelled, as the run is.
        """
        self._is_over = True
        if breaks_off and self._for_hooks is not None:
            self._for_hooks.break_off()
        if self._is_news:
            self._is_news = False
            event = self._event()
            self._dispatcher.tell(event)
            self._keep_for_hooks(event)

    def close(self) -> None:
        """Note the end of the step."""
        self._is_over = True
        if self._for_hooks is not None:
            self._for_hooks.close()

    async def hand_over(self) -> None:
        """Call the hooks with the value that waits for them, before they get another event."""
        if self._for_hooks is not None:
            await self._for_hooks.hand_over()

    def on_time(self) -> None:
        """Tell the value that has waited for its time. Called by the timer."""
        self._due = float("-inf")
        self._tell_news()

    def _tell_news(self) -> None:
        """Tell the latest value, unless another thread is at it: the timer calls again then."""
        dispatcher = self._dispatcher
        # Tested, and never waited for: this thread may hold it, in a listener or a signal handler.
        if not dispatcher.telling.acquire(blocking=False):
            self._call_later()
            return
        try:
            event = self._next_event()
            if event is not None:
                dispatcher.call_listeners(event)
                self._keep_for_hooks(event)
        finally:
            dispatcher.telling.release()
        if event is not None and self._for_hooks is not None:
            self._for_hooks.announce()

    def _next_event(self) -> StepProgressed | None:
        """The event of the latest value, or None where it is told, or comes too early."""
        if self._is_over or not self._is_news:
            return None
        now = time.monotonic()
        if now - self._told_at < _SECONDS:
            self._call_later()
            return None
        self._is_news, self._told_at = False, now  # Before the value is read: a later one is news.
        return self._event()

    def _event(self) -> StepProgressed:
        done, total, note = self._latest or (0, None, None)
        return self._dispatcher.make(
            StepProgressed,
            **self._progress.event_fields,
            done=done,
            total=total,
            note=note,
            attempt=self._progress.attempt,
        )

    def _call_later(self) -> None:
        now = time.monotonic()
        if self._due < now - _LOST_SECONDS:
            self._due = due = max(now, self._told_at) + _SECONDS
            call_at(self, due)

    def _keep_for_hooks(self, event: StepProgressed) -> None:
        if self._for_hooks is None:
            self._for_hooks = self._dispatcher.progress_for_hooks()
        if self._for_hooks is not None:
            self._for_hooks.keep(event)
