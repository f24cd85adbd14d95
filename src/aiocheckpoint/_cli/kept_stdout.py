"""Stdout for the data of a command alone, while steps and the programs that they start print."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["kept_stdout"]

_STDOUT, _STDERR = 1, 2


@contextmanager
def kept_stdout(stream: TextIO) -> Generator[TextIO, None, None]:
    """Give a stream for the data, and let everybody else who prints to stdout print to stderr.

    Args:
        stream: The stream of stdout. Where it is that of the process, its file descriptor is moved,
            since programs that a step starts inherit the number alone.
    """
    with redirect_stdout(sys.stderr):
        if _number(stream) == _STDOUT and _number(sys.stderr) == _STDERR:
            with _moved(stream) as moved:
                yield moved
        else:
            yield stream


def _number(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):  # A stream to memory, or a closed one.
        return None


@contextmanager
def _moved(stream: TextIO) -> Generator[TextIO, None, None]:
    stream.flush()
    own = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    moved = open(own, "w", encoding=stream.encoding, errors=stream.errors)  # noqa: SIM115 - below
    try:
        yield moved
    finally:
        os.dup2(own, _STDOUT)
        with suppress(OSError):  # The caller has flushed it, and knows of that.
            moved.close()
