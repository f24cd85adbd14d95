"""A long output through a pager, as `git` does it."""

from __future__ import annotations

import os
import shlex
import subprocess
from contextlib import suppress
from typing import IO, TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiocheckpoint._cli.terminal import Terminal

__all__ = ["PagedStream", "PagerClosed", "pager_command"]


def pager_command(environ: Mapping[str, str], *, wanted: bool) -> list[str]:
    """Give the words of the pager: of PAGER, or `less` where one is wanted. Empty for none."""
    with suppress(ValueError):  # a PAGER whose quotes are not closed
        named = shlex.split(environ.get("PAGER", ""))
        if named:
            return named
    return ["less"] if wanted else []


class PagerClosed(Exception):  # noqa: N818 - no error
    """The person has seen enough and left the pager."""


class PagedStream:
    """Holds lines back until they are more than a screen. Then starts the pager.

    Args:
        out: The terminal.
        terminal: Its size.
        command: The words of the pager.
    """

    def __init__(self, out: TextIO, terminal: Terminal, command: list[str]) -> None:
        self._out = out
        self._room = (terminal.height or 24) - 1
        self._command = command
        self._held: list[str] | None = []
        self._pager: subprocess.Popen[str] | None = None

    @property
    def has_screen(self) -> bool:
        """Whether the pager has the screen now, where no words of others belong."""
        return self._pager is not None

    def write(self, text: str) -> None:
        """Take text of whole lines.

        Raises:
            PagerClosed: The person has left the pager.
        """
        if self._held is None:
            self._send(text)
            return
        self._held.append(text)
        self._room -= text.count("\n")
        if self._room < 0:
            self._start()

    def flush(self) -> None:
        """Do nothing: a pager that may yet start needs the lines held back."""

    def close(self) -> None:
        """Show what was held back, or wait until the person leaves the pager."""
        if self._held is not None:
            self._release(self._out)
            self._out.flush()
        if self._pager is not None:
            _end(self._pager)
            self._pager = None

    def _start(self) -> None:
        try:
            self._pager = subprocess.Popen(  # noqa: S603 - the person named it
                self._command,
                env={"LESS": "FRX", **os.environ},  # as git has it: colours, and no empty screen
                stdin=subprocess.PIPE,
                encoding="utf-8",
                errors="backslashreplace",
            )
        except OSError:  # It is not installed, so the terminal has all.
            self._release(self._out)
        else:
            self._release(None)

    def _release(self, stream: IO[str] | None) -> None:
        held, self._held = self._held or [], None
        for text in held:
            self._send(text) if stream is None else stream.write(text)

    def _send(self, text: str) -> None:
        if self._pager is None or self._pager.stdin is None:
            self._out.write(text)
            return
        try:
            self._pager.stdin.write(text)
            self._pager.stdin.flush()
        except BrokenPipeError:
            raise PagerClosed from None


def _end(pager: subprocess.Popen[str]) -> None:
    if pager.stdin is not None:
        with suppress(BrokenPipeError):
            pager.stdin.close()
    while True:
        with suppress(KeyboardInterrupt):  # Ctrl-C is the pager's.
            pager.wait()
            return
