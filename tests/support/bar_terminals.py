"""A pseudo-terminal on which bars are drawn, as a person sees it."""

from __future__ import annotations

import os
import re
import struct
import sys
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from unittest import mock

from emulated_terminal import EmulatedTerminal

from aiocheckpoint._display.live.streams import is_terminal

if TYPE_CHECKING:
    from collections.abc import Generator

    import pytest

    from aiocheckpoint._display.live.screen import Screen, StandingBar

__all__ = ["COLUMNS", "ROWS", "Tty", "terminal"]

COLUMNS, ROWS = 40, 10


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

    def enter(self, bar: StandingBar) -> Screen:
        """Let a bar stand at the foot."""
        from aiocheckpoint._display.live.screen import enter_screen  # noqa: PLC0415 - rich is an extra

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
        """The terminal as it is seen now. Half a code may have been read."""
        return EmulatedTerminal(COLUMNS).feed(re.sub(r"\x1b(\[[0-9;]*)?$", "", self.sent))


@contextmanager
def terminal(patch: pytest.MonkeyPatch, **environment: str) -> Generator[Tty]:
    """Let stdout and stderr be a terminal for a while."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        patch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", **environment}.items():
        patch.setenv(name, value)
    import fcntl  # noqa: PLC0415 - pseudo-terminals are a POSIX thing
    import termios  # noqa: PLC0415

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
