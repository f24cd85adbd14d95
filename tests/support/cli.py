"""The command line, called in this process, as a process, and on a pseudo-terminal."""

from __future__ import annotations

import io
import os
import select
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

import pytest

from aiocheckpoint._cli.main import main

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["COMMAND_LINE", "Invoked", "clean_environment", "in_pty", "invoke", "spawn"]

COMMAND_LINE = [sys.executable, "-m", "aiocheckpoint"]
PATIENCE = 60.0
_SET_OUTSIDE = ("COLORTERM", "COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "PAGER")


class Invoked(NamedTuple):
    """What a command line gave."""

    code: int
    out: str
    err: str


def clean_environment(env: Mapping[str, str] | None) -> dict[str, str]:
    """The environment without what changes the output, and with what a test sets."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _SET_OUTSIDE and not name.startswith("AIOCHECKPOINT_")
    }
    return {**kept, **(env or {})}


def invoke(
    *words: object,
    input: str | None = None,  # noqa: A002 - as in `subprocess.run`
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Invoked:
    """Call the command line in this process, piped.

    Args:
        words: The words behind the name of the program.
        input: What comes from stdin. It is empty by default.
        env: Further environment variables.
        cwd: The current directory.
    """
    out, err = _Stream(), _Stream()
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, clean_environment(env), clear=True))
        stack.enter_context(mock.patch.object(sys, "path", [*sys.path]))
        stack.enter_context(mock.patch.object(sys, "stdin", io.StringIO(input or "")))
        if cwd is not None:
            stack.enter_context(chdir(cwd))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        code = main([str(word) for word in words])
    return Invoked(int(code), out.text(), err.text())


def spawn(
    *words: object,
    input: str | None = None,  # noqa: A002 - as in `subprocess.run`
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Invoked:
    """Call the command line as a process of its own, with pipes.

    Args:
        words: The words behind the name of the program.
        input: What comes from stdin. It is empty by default.
        env: Further environment variables.
        cwd: The current directory.
    """
    done = subprocess.run(
        [*COMMAND_LINE, *map(str, words)],
        cwd=cwd,
        env=clean_environment(env),
        input=(input or "").encode(),
        capture_output=True,
        check=False,
        timeout=PATIENCE,
    )
    return Invoked(done.returncode, done.stdout.decode(), done.stderr.decode())


def in_pty(
    *words: object,
    columns: int = 80,
    lines: int = 24,
    typed: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Invoked:
    """Call the command line on a pseudo-terminal, to its end.

    Args:
        words: The words behind the name of the program.
        columns: The width of the terminal.
        lines: Its height.
        typed: What is typed, at once.
        env: Further environment variables.
        cwd: The current directory.

    Returns:
        What was shown, words included, as `out`.
    """
    main_end, child_end = _terminal(columns, lines)
    with subprocess.Popen(
        [*COMMAND_LINE, *map(str, words)],
        cwd=cwd,
        env=clean_environment({"TERM": "xterm-256color", **(env or {})}),
        stdin=child_end,
        stdout=child_end,
        stderr=child_end,
        start_new_session=True,
    ) as process:
        os.close(child_end)
        try:
            os.write(main_end, typed.encode())
            shown = _all_of(main_end)
        finally:
            os.close(main_end)
        code = process.wait(PATIENCE)
    return Invoked(code, shown.decode().replace("\r\n", "\n"), "")


def _terminal(columns: int, lines: int) -> tuple[int, int]:
    fcntl = pytest.importorskip("fcntl", reason="pseudo-terminals are a POSIX thing")
    termios = pytest.importorskip("termios", reason="pseudo-terminals are a POSIX thing")
    main_end, child_end = os.openpty()
    fcntl.ioctl(child_end, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    return main_end, child_end


def _all_of(main_end: int) -> bytes:
    """Read until the last process has closed the terminal."""
    shown, deadline = b"", time.monotonic() + PATIENCE
    while True:
        ready, _, _ = select.select([main_end], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"waited for the end, saw: {shown!r}"
        try:
            chunk = os.read(main_end, 65536)
        except OSError:  # Linux tells so that nobody has the terminal open any longer.
            return shown
        if not chunk:
            return shown
        shown += chunk


class _Stream(io.TextIOWrapper):
    """A stream of UTF-8 to memory, as a pipe is one."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="\n")

    def text(self) -> str:
        """All that was written."""
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()
