"""The command line, called in this process, as a process, and on a pseudo-terminal."""

from __future__ import annotations

import io
import os
import select
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

import pytest

from aiocheckpoint._cli.main import main

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

__all__ = [
    "COMMAND_LINE",
    "Invoked",
    "clean_environment",
    "in_pty",
    "install_command",
    "invoke",
    "spawn",
    "spawn_in_pty",
]

COMMAND_LINE = [sys.executable, "-m", "aiocheckpoint"]
PATIENCE = 60.0
_WRITTEN_ANEW = ("bad", "plain", "service")
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
    with (
        _surroundings(env, cwd),
        mock.patch.object(sys, "stdin", io.StringIO(input or "")),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
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
    encoding: str = "utf-8",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Invoked:
    """Call the command line in this process, on a pseudo-terminal.

    Args:
        words: The words behind the name of the program.
        columns: The width of the terminal.
        lines: Its height.
        typed: What is typed, at once.
        encoding: That of the streams.
        env: Further environment variables.
        cwd: The current directory.

    Returns:
        What was shown, the words and what was typed included, as `out`.
    """
    with _terminal(columns, lines) as (main_end, child_end), ThreadPoolExecutor(1) as pool:
        shown = pool.submit(_all_of, main_end)
        os.write(main_end, typed.encode())
        with ExitStack() as stack:
            stack.callback(os.close, child_end)  # Its last end ends the reading.
            for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
                stream = open(os.dup(child_end), mode, encoding=encoding)  # noqa: PTH123, SIM115
                stack.enter_context(stream)
                stack.enter_context(mock.patch.object(sys, name, stream))
            stack.enter_context(_surroundings(_in_terminal(env), cwd))
            code = main([str(word) for word in words])
        return Invoked(int(code), shown.result().decode(encoding).replace("\r\n", "\n"), "")


def spawn_in_pty(
    *words: object,
    columns: int = 80,
    lines: int = 24,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Invoked:
    """Do as `in_pty` with a process of its own, whose children have the terminal too."""
    with _terminal(columns, lines) as (main_end, child_end), ThreadPoolExecutor(1) as pool:
        shown = pool.submit(_all_of, main_end)
        try:
            done = subprocess.run(
                [*COMMAND_LINE, *map(str, words)],
                cwd=cwd,
                env=clean_environment(_in_terminal(env)),
                stdin=child_end,
                stdout=child_end,
                stderr=child_end,
                start_new_session=True,
                check=False,
                timeout=PATIENCE,
            )
        finally:
            os.close(child_end)
        return Invoked(done.returncode, shown.result().decode().replace("\r\n", "\n"), "")


def _in_terminal(env: Mapping[str, str] | None) -> dict[str, str]:
    return {"TERM": "xterm-256color", **(env or {})}


@contextmanager
def _surroundings(env: Mapping[str, str] | None, cwd: Path | None) -> Generator[None]:
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, clean_environment(env), clear=True))
        stack.enter_context(mock.patch.object(sys, "path", [*sys.path]))
        if cwd is not None:
            stack.enter_context(chdir(cwd))
        stack.callback(_forget_modules)
        yield


def install_command(folder: Path) -> Path:
    """Write the program `aiocheckpoint` as pip does, and give the folder for `PATH`."""
    command = folder / "bin" / "aiocheckpoint"
    command.parent.mkdir()
    lines = "import sys", "from aiocheckpoint._cli.main import main", "sys.exit(main())"
    command.write_text("\n".join([f"#!{sys.executable}", *lines, ""]))
    command.chmod(0o755)
    return command.parent


@contextmanager
def _terminal(columns: int, lines: int) -> Generator[tuple[int, int]]:
    fcntl = pytest.importorskip("fcntl", reason="pseudo-terminals are a POSIX thing")
    termios = pytest.importorskip("termios", reason="pseudo-terminals are a POSIX thing")
    main_end, child_end = os.openpty()
    try:
        fcntl.ioctl(child_end, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        yield main_end, child_end
    finally:
        os.close(main_end)


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


def _forget_modules() -> None:
    """Have the modules that each test writes anew imported anew by the next one."""
    for name in _WRITTEN_ANEW:
        sys.modules.pop(name, None)


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
