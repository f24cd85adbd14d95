"""The streams of the process: made ready at its begin, and emptied before its end."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

from aiocheckpoint._cli.exit_codes import ExitCode

__all__ = ["settled", "survive_streams"]


def survive_streams() -> None:
    """Show what the encoding lacks by escapes, and print into nothing where a stream is closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # The shell has closed it.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def settled(code: int, lost: str | None = None) -> int:
    """Send what the streams hold, which the interpreter would do at its end, with its own words.

    Args:
        code: The exit code.
        lost: Why stdout could not be written, where that is known already.

    Returns:
        The code, or that of what has happened to stdout. Stderr changes none.
    """
    problem = _problem_of(sys.stdout)
    if isinstance(problem, BrokenPipeError):
        code = ExitCode.CLOSED_PIPE
    elif problem is not None or lost is not None:
        code = code or ExitCode.FAILED
        with suppress(OSError):
            reason = lost or (problem and problem.strerror) or "unknown"
            sys.stderr.write(f"aiocheckpoint: stdout cannot be written: {reason}.\n")
    _problem_of(sys.stderr)
    return code


def _problem_of(stream: TextIO) -> OSError | None:
    """Flush a stream. One that cannot be written writes into nothing from now on."""
    try:
        stream.flush()
    except OSError as error:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
        return error
    return None
