"""How calls in processes of the library's own fail."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor

__all__ = ["CallRefusedError", "PartTimeoutError", "ProcessLostError", "ProcessStartError"]


class ProcessLostError(BrokenExecutor):
    """A process ended under a call."""


class ProcessStartError(Exception):
    """A process ended by itself before a call began in it, as the next one would."""


class CallRefusedError(Exception):
    """A process could not call the function, or could not give its result back."""


class PartTimeoutError(Exception):
    """A part of a call took too long, and its process was killed.

    Args:
        part: The part.
    """

    def __init__(self, part: str) -> None:
        super().__init__(part)
        self.part = part
