"""Displays that are a bar at the foot of a terminal."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING

from aiocheckpoint._display.live.followed import FollowedRun, FollowedRuns
from aiocheckpoint._display.live.run_bar import end_line, run_lines
from aiocheckpoint._display.live.runs_bar import counts_line, runs_lines
from aiocheckpoint._display.live.streams import is_terminal
from aiocheckpoint._display.times import now
from aiocheckpoint._model.followers import Follower

if TYPE_CHECKING:
    from aiocheckpoint._display.live.displays import Display, DisplaySubject
    from aiocheckpoint._display.live.screen import Screen
    from aiocheckpoint._display.live.terminal_style import Line, TerminalStyle
    from aiocheckpoint._model.followers import RunFacts
    from aiocheckpoint.events import Event

__all__ = ["make_bar"]


def make_bar(shown: DisplaySubject) -> Display | None:
    """Make the bar of one call of a flow. None where stderr shows none, or rich is missing."""
    if not is_terminal(sys.stderr):
        return None
    try:
        from aiocheckpoint._display.live.screen import can_draw  # noqa: PLC0415 - rich is an extra
    except ImportError:
        return None
    if not can_draw():
        return None
    return _RunsBar(shown) if shown.many else _RunBar(shown)


class _Bar(Follower):
    """A bar, which stands at the foot from the first event on.

    Args:
        followed: The run or runs.
        flow: Name of the flow.
    """

    def __init__(self, followed: FollowedRun | FollowedRuns, flow: str) -> None:
        self._followed, self._flow = followed, flow
        self._screen: Screen | None = None
        self._unentered = deque((None,))

    @property
    def place(self) -> object:
        """Where the run is, or the runs are. Another value where that is elsewhere."""
        return self._followed.place

    @property
    def marks(self) -> object:
        """What there is to show. Another value where there is something new."""
        return self._followed.marks

    def follow(self, run: RunFacts) -> None:
        """Take a run that begins now."""
        self._followed.follow(run)

    def hear(self, event: Event) -> None:
        """Take a rare event."""
        self._followed.take(event)
        screen = self._screen or self._enter()
        if screen is not None:
            screen.wake()

    def close(self, error: BaseException | None) -> None:
        """Leave the lines that stay."""
        self._followed.end(error)
        if self._unentered:
            return
        from aiocheckpoint._display.live.screen import leave_screens  # noqa: PLC0415 - as above

        leave_screens(self)  # Ctrl-C may have broken off `_enter`.

    def _enter(self) -> Screen | None:
        try:
            self._unentered.pop()
        except IndexError:
            return None  # Another thread is at it.
        from aiocheckpoint._display.live.screen import enter_screen  # noqa: PLC0415 - as above

        self._screen = enter_screen(self, self._flow)
        return self._screen

    def news(self, style: TerminalStyle) -> list[Line]:  # noqa: ARG002 - for those that have some
        """Give lines to be put above the bars, once."""
        return []

    def lines(self, style: TerminalStyle) -> list[Line]:
        """Give the present lines."""
        raise NotImplementedError

    def last_lines(self, style: TerminalStyle) -> list[Line]:
        """Give the lines that stay when the bar has ended."""
        raise NotImplementedError


class _RunBar(_Bar):
    """The bar of one run."""

    def __init__(self, shown: DisplaySubject) -> None:
        self._run = FollowedRun(shown)
        super().__init__(self._run, shown.flow)

    def lines(self, style: TerminalStyle) -> list[Line]:
        """Give the step in progress, and the steps around it."""
        return run_lines(self._run.view(), style, now())

    def last_lines(self, style: TerminalStyle) -> list[Line]:
        """Give how the run has ended."""
        return [end_line(self._run.view(), style, now())]


class _RunsBar(_Bar):
    """The bar of many runs. Those that have failed are listed above it."""

    def __init__(self, shown: DisplaySubject) -> None:
        self._runs = FollowedRuns(shown)
        super().__init__(self._runs, shown.flow)

    def news(self, style: TerminalStyle) -> list[Line]:
        """Give the failures since the last time."""
        return [[(style.sign("failed"), "failed"), (f" {one}", "")] for one in self._runs.news()]

    def lines(self, style: TerminalStyle) -> list[Line]:
        """Give the numbers, and the slowest run."""
        return runs_lines(self._runs, self._flow, style, now())

    def last_lines(self, style: TerminalStyle) -> list[Line]:
        """Give the numbers."""
        return [counts_line(self._runs, self._flow, style, now())]
