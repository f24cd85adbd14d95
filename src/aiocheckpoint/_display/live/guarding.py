"""A display that never breaks a run, whatever becomes of it."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency import forks
from aiocheckpoint._logging import RunPlace, log
from aiocheckpoint._model.followers import Follower

if TYPE_CHECKING:
    from aiocheckpoint._display.live.displays import Display
    from aiocheckpoint._model.followers import RunFacts
    from aiocheckpoint.events import Event

__all__ = ["GuardedDisplay", "guarded", "log_failed", "log_hanging"]


class GuardedDisplay:
    """Passes events on to a display until it raises an exception, which is logged.

    Args:
        display: The display. A forked child leaves it alone, as it is the parent's.
        flow: Name of the flow, for the log.
    """

    def __init__(self, display: Display, flow: str) -> None:
        self._display, self._flow = display, flow
        self._process = forks.process
        self._has_failed = self._is_closed = False

    def hear(self, event: Event) -> None:
        """Take an event."""
        if self._has_failed:
            return
        try:
            self._display.hear(event)
        except Exception as error:  # noqa: BLE001 - a display never breaks a run
            self._fail(error)

    def close(self, error: BaseException | None) -> None:
        """Show the last state, and end. A second call completes one that Ctrl-C has broken off."""
        if self._is_closed or self._process is not forks.process:
            return
        try:
            self._display.close(error)
        except Exception as problem:  # noqa: BLE001 - as above
            self._fail(problem)
        self._is_closed = True

    def _fail(self, error: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            log_failed(self._flow, error)


class _GuardedFollower(GuardedDisplay, Follower):
    """One that follows runs."""

    def __init__(self, display: Display, follower: Follower, flow: str) -> None:
        super().__init__(display, flow)
        self._follower = follower

    def follow(self, run: RunFacts) -> None:
        """Take a run that begins now."""
        try:
            self._follower.follow(run)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)


def guarded(display: Display, flow: str) -> GuardedDisplay:
    """Guard a display. That of a `Follower` is one too.

    Args:
        display: The display.
        flow: Name of the flow, for the log.
    """
    if isinstance(display, Follower):
        return _GuardedFollower(display, display, flow)
    return GuardedDisplay(display, flow)


def log_failed(flow: str, error: Exception) -> None:
    """Log that a display has failed."""
    words = "The display of progress has failed. The run continues without one: %s: %s"
    with suppress(Exception):  # A closed stderr fails the log too, or the error has no text.
        # As text: a kept record would keep the traceback, and so the state of the run.
        log(logging.WARNING, RunPlace(flow), words, type(error).__name__, str(error))


def log_hanging(flow: str) -> None:
    """Log that the last picture of a display is not waited for."""
    words = "The display of progress hangs. The run does not wait for its last state."
    with suppress(Exception):
        log(logging.WARNING, RunPlace(flow), words)
