"""The command line, called in this process, as a process, and on a pseudo-terminal."""

from __future__ import annotations

import io
import os
import sys
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

from aiocheckpoint._cli.main import main

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Invoked", "invoke"]

_SET_OUTSIDE = ("COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "PAGER")


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
