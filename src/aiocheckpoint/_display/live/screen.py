"""The foot of a terminal, where the bars of all displays of this process stand, drawn by rich."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.text import Text

from aiocheckpoint._display.live.painter import Painter
from aiocheckpoint._display.live.streams import WatchedStreams
from aiocheckpoint._display.live.terminal_style import TerminalStyle, encodes_signs
from aiocheckpoint._display.signs import sign_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from aiocheckpoint._display.live.terminal_style import Line

__all__ = ["Screen", "StandingBar", "can_draw", "enter_screen", "leave_screens"]


class StandingBar(Protocol):
    """A bar at the foot. Its methods are called in the thread that draws."""

    @property
    def place(self) -> object:
        """Where its run is. Another value where that is elsewhere. In any thread."""

    @property
    def marks(self) -> object:
        """What there is to show. Another value where there is something new."""

    def news(self, style: TerminalStyle) -> list[Line]:
        """Give lines to be put above the bars, once."""
        raise NotImplementedError

    def lines(self, style: TerminalStyle) -> list[Line]:
        """Give its present lines."""
        raise NotImplementedError

    def last_lines(self, style: TerminalStyle) -> list[Line]:
        """Give the lines that stay when it has ended."""
        raise NotImplementedError


_entering = threading.RLock()
"""Held while a bar comes or goes. A signal handler in the midst of that may begin a run."""
_screens: list[Screen] = []
"""The present screen, if there is one, and one that is about to end."""


def can_draw() -> bool:
    """Whether the terminal of stderr moves its cursor."""
    console = _console()
    return not (console.is_dumb_terminal or console.legacy_windows)


def _console() -> Console:
    # It only renders. Its lock is held while it writes, and must not be waited for under ours.
    return Console(
        file=StringIO(),
        force_terminal=True,
        force_jupyter=False,
        highlight=False,
        markup=False,
        emoji=False,
    )


def enter_screen(bar: StandingBar, flow: str) -> Screen:
    """Let a bar stand at the foot of the terminal of stderr.

    Args:
        bar: The bar.
        flow: Name of its flow, for the log.

    Returns:
        The screen, which the bar leaves at its end.
    """
    with _entering:
        present = [one for one in _screens if not one.is_over]
        screen = present[0] if present else Screen(_console(), flow)
        screen.add(bar)
        if not present:
            _screens.append(screen)
            screen.begin()
        return screen


def leave_screens(bar: StandingBar) -> None:
    """Take a bar away. A second call completes one that Ctrl-C has broken off."""
    for screen in [*_screens]:
        screen.leave(bar)


class Screen:
    """The bars at the foot of a terminal.

    Args:
        console: Draws on the terminal.
        flow: Name of the first flow, for the log.

    Attributes:
        is_over: Whether its last bar has left.
    """

    def __init__(self, console: Console, flow: str) -> None:
        self._console, self._stream = console, sys.stderr
        self._write = self._stream.write
        self._lock = threading.RLock()
        self._bars: list[StandingBar] = []
        self._ending: list[StandingBar] = []
        self._streams = WatchedStreams(self)
        self._painter = Painter(self._paint, flow, marks=self._marks)
        self._unicode = encodes_signs(self._stream.encoding)
        self._drawn, self._rows = "", 0
        self.is_over: bool = False
        self._is_aside = self._needs_line = False
        self._places: list[object] = []
        self._problem: Exception | None = None

    def begin(self) -> None:
        """Let the output of the program stand above."""
        self._streams.begin()

    def add(self, bar: StandingBar) -> None:
        """Add a bar at the lower end."""
        with self._lock:
            self._bars.append(bar)

    def wake(self) -> None:
        """Have the bars drawn soon."""
        self._painter.wake()

    def say(self, lines: Iterable[Line]) -> None:
        """Print lines above the bars."""
        text = self._painted(lines)
        if text:
            with self.above(text):
                self._put(f"\n{text}" if self._needs_line else text)

    def leave(self, bar: StandingBar) -> None:
        """Take a bar away. Its last lines come with the next picture, and stay above the others.

        The last bar brings them at once. Ctrl-C may come in the midst of this, which is called once
        more then.
        """
        with _entering:
            with self._lock:
                if bar in self._bars:
                    self._ending.append(bar)
                    self._bars.remove(bar)
                    self._is_aside = False
                is_last = not self._bars
                if is_last and not self.is_over:
                    self._finish()
            if is_last:
                self._painter.close()
                self._forget()
        if not is_last:
            self.wake()

    def _finish(self) -> None:
        """Leave the last lines. The streams are as before, even if that fails."""
        try:
            self._put(self._erased())
            self._drawn = ""
            self._say_ends(self._style())
        finally:
            self._end()

    def _say_ends(self, style: TerminalStyle) -> None:
        """Print the last lines of the bars that have left, above the others."""
        while self._ending:
            ended = self._ending[:]
            lines = [line for bar in ended for line in (*bar.news(style), *bar.last_lines(style))]
            del self._ending[: len(ended)]
            self.say(lines)

    def _end(self) -> None:
        self._streams.end()
        self.is_over = True

    def _forget(self) -> None:
        if self in _screens:
            _screens.remove(self)

    def drop(self) -> None:
        """Be over, in a forked child. The thread that held the lock is not in it."""
        self._lock = threading.RLock()
        self._bars.clear()
        self._ending.clear()
        self._end()
        self._forget()

    @contextmanager
    def above(self, text: str | None) -> Generator[None, None, None]:
        """Step aside for a block that writes a text, or None for one that is unknown.

        The bars come back behind the end of a line, or where a run goes on to another step.
        """
        with self._lock:
            if not self.is_over:
                self._put(self._erased())
            try:
                yield
            finally:
                if text != "":
                    self._is_aside = text is None or text[-1] != "\n"
                    self._needs_line = text is not None and self._is_aside
                    if self._is_aside:
                        self._places = self._present_places()
                if not self.is_over and not self._is_aside:
                    self._draw(self._drawn)

    def _paint(self) -> None:
        if self._problem is not None:
            raise self._problem
        style = self._style()
        with self._lock:  # In one go: the call of the last bar returns behind all lines.
            bars = [*self._bars]
            if self._is_aside and self._places != self._present_places():
                self._is_aside = False
            self.say([line for bar in bars for line in bar.news(style)])
            if not self._is_aside:
                self._say_ends(style)
        text = self._present(bars, style)
        with self._lock:
            if self.is_over or self._is_aside:
                self._drawn = text
            elif text != self._drawn or not self._rows:
                self._draw(text, before=self._erased())

    def _marks(self) -> list[object]:
        return [bar.marks for bar in [*self._bars]]

    def _present_places(self) -> list[object]:
        return [bar.place for bar in self._bars]

    def _present(self, bars: list[StandingBar], style: TerminalStyle) -> str:
        room = max(self._console.height - 2, 1)
        lines: list[Line] = []
        for number, bar in enumerate(bars):
            added = bar.lines(style)
            if lines and len(lines) + len(added) >= room:
                lines.append([(f"and {len(bars) - number:,} more", "waiting")])
                break
            lines += added
        return self._painted(lines).removesuffix("\n")

    def _style(self) -> TerminalStyle:
        return TerminalStyle(max(self._console.width - 1, 20), self._unicode)

    def _painted(self, lines: Iterable[Line]) -> str:
        with self._console.capture() as captured:
            for line in lines:
                styled = [(text, sign_of(status).basic if status else "") for text, status in line]
                self._console.print(Text.assemble(*styled, no_wrap=True, overflow="crop"))
        return captured.get()

    def _draw(self, text: str, before: str = "") -> None:
        if self._needs_line:
            before, self._needs_line = "\n", False
        self._drawn, self._rows = text, text.count("\n") + 1 if text else 0
        self._put(before + text)

    def _erased(self) -> str:
        """The codes that take the bars away, and note that they are gone."""
        rows, self._rows = self._rows, 0
        return "\r\x1b[2K" + "\x1b[1A\x1b[2K" * (rows - 1) if rows else ""

    def _put(self, text: str) -> None:
        if not text or self._problem is not None:
            return
        try:
            self._write(text)
            self._stream.flush()
        except Exception as error:  # noqa: BLE001 - not in the midst of a `print` of the program
            self._problem = error


def _drop_all() -> None:
    global _entering  # noqa: PLW0603 - the child's own
    _entering = threading.RLock()
    for screen in [*_screens]:
        screen.drop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_all)
