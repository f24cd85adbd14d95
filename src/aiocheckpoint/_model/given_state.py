"""A given state beside the one that the stored run began with."""

from __future__ import annotations

import os
import sys
from typing import Final, Literal, NamedTuple

__all__ = ["GIVEN_WORDS", "UNDIGESTED", "CallSite", "Sameness", "call_site"]

Sameness = Literal["equal", "similar", "different", "unknown"]
"""How a given state compares with the one that a run began with.

"similar" where all plain data is equal and other values differ, by type or pickle. "unknown" where
no digest is stored that can be compared.
"""

GIVEN_WORDS: Final[dict[Sameness | None, str]] = {
    **dict.fromkeys(("unknown", None), "Ignores the given state: the unfinished run has its own."),
    "equal": "The given state equals the one that the run began with.",
    "similar": "Ignores the given state: the run began with one whose objects are others.",
    "different": "Ignores the given state: the unfinished run began with another one.",
}
"""How a plan says it. None before the states are compared."""

UNDIGESTED: Final = ""
"""The digest in a header that is to be stored together with the state that a run begins with. The
thread that stores both puts the digest in its place."""

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_ASYNCIO = os.path.dirname(os.path.abspath(os.__file__)) + os.sep + "asyncio" + os.sep


class CallSite(NamedTuple):
    """A line of a program that called this library."""

    filename: str
    line: int
    module: str


def call_site() -> CallSite:
    """Find the line that called, outside of this library and asyncio.

    A coroutine in a task of its own has no caller there. The line is then the one that runs the
    event loop.
    """
    # As `warnings` does.
    frame = sys._getframe(1)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_code.co_filename.startswith((_OURS, _ASYNCIO)):
        frame = frame.f_back
    return CallSite(frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__", ""))
