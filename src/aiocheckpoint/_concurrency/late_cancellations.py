"""Exceptions for cancellations that a function outlives, or that come too late for it."""

from __future__ import annotations

import asyncio

__all__ = ["AbandonedCallError", "LateCancellationError"]


class AbandonedCallError(asyncio.CancelledError):
    """A cancellation that does not wait for an abandoned function, which is still running.

    The caller of the run gets a plain cancellation in its place.
    """

    def plain(self) -> asyncio.CancelledError:
        """The same as a plain cancellation, with its notes and traceback."""
        made = asyncio.CancelledError(*self.args)
        for note in getattr(self, "__notes__", ()):
            made.add_note(note)
        return made.with_traceback(self.__traceback__)


class LateCancellationError(Exception):
    """Carries a cancellation that came while a function ran which has returned since.

    Args:
        cancellation: The cancellation, for the caller to raise.
        result: What the function returned.
    """

    def __init__(self, cancellation: asyncio.CancelledError, result: object) -> None:
        super().__init__()
        self.cancellation = cancellation
        self.result = result
