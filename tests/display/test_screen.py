"""The foot of a terminal: bars below, and the output of the program above them, untouched."""

from __future__ import annotations

import logging
import os
import struct
import sys
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from emulated_terminal import EmulatedTerminal

from aiocheckpoint._display import painter as painters
from aiocheckpoint._display.screen import Screen, can_draw, enter_screen
from aiocheckpoint._display.streams import is_terminal

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiocheckpoint._display.look_of_terminal import Line, Look

fcntl = pytest.importorskip("fcntl", reason="pseudo-terminals are a POSIX thing")
termios = pytest.importorskip("termios", reason="pseudo-terminals are a POSIX thing")
COLUMNS, ROWS = 40, 10
say = print
"""As the program of a user does."""


class Bar:
    """A bar of given lines."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.said: list[str] = []
        self.place = self.marks = 0
        self.drawn = threading.Semaphore(0)

    def news(self, look: Look) -> list[Line]:
        """Give the lines to say, once."""
        said, self.said = self.said, []
        return [[(text, "failed")] for text in said]

    def lines(self, look: Look) -> list[Line]:
        """Give the lines."""
        self.drawn.release()
        return [[(text[: look.width], "running")] for text in self.texts]

    def last_lines(self, look: Look) -> list[Line]:
        """Give the line that stays."""
        return [[(f"{self.texts[0]} has ended", "finished")]]


class Tty:
    """A pseudo-terminal that is stdout and stderr of this process, and what it was sent."""

    def __init__(self, main: int, child: int) -> None:
        self._main, self._child = main, child
        self.sent = ""
        self._stack = ExitStack()

    def begin(self) -> None:
        """Become the streams. In the test itself, as pytest sets its own ones before it."""
        for name in ("stdout", "stderr"):
            stream = open(os.dup(self._child), "w", encoding="utf-8", buffering=1)  # noqa: PTH123, SIM115
            self._stack.enter_context(stream)
            self._stack.enter_context(mock.patch.object(sys, name, stream))
        # rich asks the numbers of the standard streams for the size of the terminal.
        numbers = mock.patch("rich.console._STD_STREAMS", (self._child,))
        self._stack.enter_context(numbers)

    def end(self) -> None:
        """Give the streams back."""
        self._stack.close()

    def enter(self, bar: Bar) -> Screen:
        """Let a bar stand at the foot."""
        if not is_terminal(sys.stderr):
            self.begin()
        return enter_screen(bar, "orders")

    def read(self) -> None:
        """Read until the terminal is closed, as a terminal does whose window is open."""
        while True:
            try:
                self.sent += os.read(self._main, 65_536).decode().replace("\r\n", "\n")
            except OSError:  # Linux tells so that nobody has it open any longer.
                return

    @property
    def lines(self) -> list[str]:
        """The lines that are seen now."""
        return self.terminal.lines

    @property
    def terminal(self) -> EmulatedTerminal:
        """The terminal as it is seen now."""
        return EmulatedTerminal(COLUMNS).feed(self.sent)


@contextmanager
def terminal(patch: pytest.MonkeyPatch, **environment: str) -> Generator[Tty]:
    """Let stdout and stderr be a terminal for a while."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        patch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", **environment}.items():
        patch.setenv(name, value)
    main, child = os.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    found = Tty(main, child)
    reader = threading.Thread(target=found.read)
    reader.start()
    try:
        yield found
    finally:
        found.end()
        os.close(child)
        reader.join()
        os.close(main)


@pytest.fixture
def tty(monkeypatch: pytest.MonkeyPatch) -> Generator[Tty]:
    """Give a terminal of 40 columns, on which bars are drawn as a test asks for it."""
    for name in ("PAINT_SECONDS", "TICK_SECONDS", "_MOST_SECONDS"):
        monkeypatch.setattr(painters, name, 0.0 if name == "PAINT_SECONDS" else 60.0)
    monkeypatch.setattr(painters, "_SHARE", 0)
    with pytest.MonkeyPatch.context() as patch, terminal(patch) as found:
        yield found


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
