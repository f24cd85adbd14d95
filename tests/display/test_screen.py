"""The foot of a terminal: bars below, and the output of the program above them, untouched."""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from bar_terminals import terminal

from aiocheckpoint._display.live import painter as painters
from aiocheckpoint._display.live.screen import Screen, can_draw

if TYPE_CHECKING:
    from bar_terminals import Tty

    from aiocheckpoint._display.live.terminal_style import Line, TerminalStyle

pytest.importorskip("fcntl", reason="pseudo-terminals are a POSIX thing")
say = print
"""As the program of a user does."""


class Bar:
    """A bar of given lines."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.said: list[str] = []
        self.place = self.marks = 0
        self.drawn = threading.Semaphore(0)

    def news(self, style: TerminalStyle) -> list[Line]:
        """Give the lines to say, once."""
        said, self.said = self.said, []
        return [[(text, "failed")] for text in said]

    def lines(self, style: TerminalStyle) -> list[Line]:
        """Give the lines."""
        self.drawn.release()
        return [[(text[: style.width], "running")] for text in self.texts]

    def last_lines(self, style: TerminalStyle) -> list[Line]:
        """Give the line that stays."""
        return [[(f"{self.texts[0]} has ended", "finished")]]


def draw(screen: Screen, *bars: Bar) -> None:
    """Let the bars be drawn, and wait for that."""
    screen.wake()
    for bar in bars:
        assert bar.drawn.acquire(timeout=30)


def settle(tty: Tty, lines: list[str]) -> None:
    """Wait until the terminal shows some lines, which another thread may be drawing."""
    for _ in range(300):
        if tty.lines == lines:
            return
        threading.Event().wait(0.01)
    assert tty.lines == lines


def test_two_lines_in_place(tty: Tty) -> None:
    """Lines are drawn over those before, and the last ones stay."""
    bar = Bar("first", "second")
    screen = tty.enter(bar)
    draw(screen, bar)
    bar.texts = ["third", "fourth"]
    draw(screen, bar)
    settle(tty, ["third", "fourth"])
    screen.leave(bar)
    settle(tty, ["third has ended"])
    assert tty.terminal.styles
    screen.leave(bar)  # As Ctrl-C may have broken off the first time.
    settle(tty, ["third has ended"])


def test_output_stands_above(tty: Tty) -> None:
    """What is printed to either stream is above the bar, as it is, and none of it is lost."""
    bar = Bar("the bar")
    screen = tty.enter(bar)
    draw(screen, bar)
    settle(tty, ["the bar"])
    say("to stdout [bold]with brackets[/bold]")
    settle(tty, ["to stdout [bold]with brackets[/bold]", "the bar"])
    say("to stderr", file=sys.stderr)
    sys.stdout.writelines(["one\n", "two\n"])
    expected = ["to stdout [bold]with brackets[/bold]", "to stderr", "one", "two"]
    settle(tty, [*expected, "the bar"])
    screen.leave(bar)
    settle(tty, [*expected, "the bar has ended"])


def test_logging_stands_above(tty: Tty) -> None:
    """A handler that was made before the bar, and one made meanwhile, write above it."""
    tty.begin()
    logger = logging.Logger("shop")  # noqa: LOG001 - not one of the program
    logger.addHandler(logging.StreamHandler())
    bar = Bar("the bar")
    screen = tty.enter(bar)
    draw(screen, bar)
    logger.warning("first")
    logger.addHandler(logging.StreamHandler())
    logger.warning("second")
    settle(tty, ["first", "second", "second", "the bar"])
    screen.leave(bar)
    logger.warning("third")
    expected = ["first", "second", "second", "the bar has ended", "third", "third"]
    settle(tty, expected)


def test_half_a_line(tty: Tty) -> None:
    """The bar waits for the end of a line, and for a step that ends without one."""
    bar = Bar("the bar")
    screen = tty.enter(bar)
    draw(screen, bar)
    say("loading ...", end="")
    settle(tty, ["loading ..."])
    draw(screen, bar)
    settle(tty, ["loading ..."])
    say(" done")
    settle(tty, ["loading ... done", "the bar"])
    say("half", end="", flush=True)
    bar.place += 1
    draw(screen, bar)
    settle(tty, ["loading ... done", "half", "the bar"])
    screen.leave(bar)


def test_it_steps_aside_for_a_prompt(tty: Tty) -> None:
    """A prompt and a program with the number of a stream write without it, and without the bar."""
    bar = Bar("the bar")
    screen = tty.enter(bar)
    draw(screen, bar)
    settle(tty, ["the bar"])
    os.write(sys.stdout.fileno(), b"name? ")
    draw(screen, bar)
    settle(tty, ["name?"])
    os.write(sys.stdout.fileno(), b"Ann\r\n")
    bar.place += 1
    draw(screen, bar)
    settle(tty, ["name? Ann", "the bar"])
    screen.leave(bar)


def test_two_bars(tty: Tty) -> None:
    """Two bars stand below each other, and one that ends leaves its last line above the other."""
    first, second = Bar("first"), Bar("second")
    screen = tty.enter(first)
    assert tty.enter(second) is screen
    draw(screen, first, second)
    settle(tty, ["first", "second"])
    screen.leave(first)
    draw(screen, second)
    settle(tty, ["first has ended", "second"])
    screen.leave(second)
    settle(tty, ["first has ended", "second has ended"])
    assert "write" not in vars(sys.stderr)
    assert "fileno" not in vars(sys.stdout)


def test_bars_leave_with_the_next_picture(tty: Tty, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars that leave draw nothing themselves, but the last one, which leaves the lines of all."""
    monkeypatch.setattr(painters, "PAINT_SECONDS", 60.0)
    monkeypatch.setattr(painters, "_MOST_SECONDS", 60.0)
    bars = [Bar(f"bar {number}") for number in range(3)]
    for bar in bars:
        screen = tty.enter(bar)
    draw(screen, *bars)
    settle(tty, ["bar 0", "bar 1", "bar 2"])
    for bar in bars[:2]:
        screen.leave(bar)
    assert tty.lines == ["bar 0", "bar 1", "bar 2"]
    assert not any(bar.drawn.acquire(blocking=False) for bar in bars)
    screen.leave(bars[2])
    settle(tty, [f"bar {number} has ended" for number in range(3)])


def test_more_bars_than_lines(tty: Tty) -> None:
    """A screen of ten lines shows the first bars of two hundred, and how many more there are."""
    bars = [Bar(f"bar {number}", "more of it") for number in range(200)]
    for bar in bars:
        screen = tty.enter(bar)
    draw(screen, *bars[:3])
    shown = ["bar 0", "more of it", "bar 1", "more of it", "bar 2", "more of it", "and 197 more"]
    settle(tty, shown)
    for bar in bars:
        screen.leave(bar)
    settle(tty, [f"bar {number} has ended" for number in range(200)])


def test_news_scroll_above(tty: Tty) -> None:
    """Lines of news are said once, above the bar."""
    bar = Bar("the bar")
    screen = tty.enter(bar)
    bar.said = ["order-1 failed", "order-2 failed"]
    draw(screen, bar)
    settle(tty, ["order-1 failed", "order-2 failed", "the bar"])
    bar.said = ["order-3 failed"]
    screen.leave(bar)
    expected = ["order-1 failed", "order-2 failed", "order-3 failed", "the bar has ended"]
    settle(tty, expected)


def test_a_terminal_that_is_gone(tty: Tty, caplog: pytest.LogCaptureFixture) -> None:
    """A terminal that takes nothing any more ends the display, and no `print` of the program."""
    bar = Bar("the bar")
    screen = tty.enter(bar)
    draw(screen, bar)
    settle(tty, ["the bar"])

    def fail(text: str) -> int:
        raise OSError(5, "Input/output error")

    screen._write = fail  # noqa: SLF001 - what a closed terminal does
    say("goes on")
    draw(screen)
    settle(tty, ["the bargoes on"])
    screen.leave(bar)
    (record,) = caplog.records
    assert "OSError" in record.getMessage()


ENVIRONMENTS = {
    "xterm": ({}, True),
    "dumb": ({"TERM": "dumb"}, False),
    "unknown": ({"TERM": "unknown"}, False),
}


@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_terminals_without_a_cursor(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dumb terminal cannot move its cursor."""
    environment, draws = ENVIRONMENTS[case]
    with terminal(monkeypatch, **environment) as found:
        found.begin()
        drawn = can_draw()
    assert drawn is draws


def test_no_colours(tty: Tty, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR takes the colours, and leaves the words and signs."""
    monkeypatch.setenv("NO_COLOR", "1")
    bar = Bar("the bar")
    screen = tty.enter(bar)
    draw(screen, bar)
    screen.leave(bar)
    settle(tty, ["the bar has ended"])
    assert tty.terminal.styles == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without forks")
def test_a_forked_child_prints_plainly(tty: Tty) -> None:
    """A child prints as if there were no bar, also if a thread of the parent was drawing."""
    bar = Bar("the bar")
    screen = tty.enter(bar)
    draw(screen, bar)
    settle(tty, ["the bar"])
    with screen._lock:  # noqa: SLF001 - as while a thread draws
        child = os.fork()
        if child == 0:
            try:
                say(": a child")
                os._exit("write" in vars(sys.stdout))
            finally:
                os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    settle(tty, ["the bar: a child"])
    screen.leave(bar)


def test_an_interrupted_print(tty: Tty) -> None:
    """Ctrl-C in the midst of a `print` leaves a screen that works."""
    bar = Bar("the bar")
    screen = tty.enter(bar)
    draw(screen, bar)
    with pytest.raises(KeyboardInterrupt), screen.above("text\n"):
        raise KeyboardInterrupt
    say("after")
    settle(tty, ["after", "the bar"])
    screen.leave(bar)
    settle(tty, ["after", "the bar has ended"])
