"""The clock of a store. A simulation gives its own."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """Tells the time, and sleeps. The module `time` is one."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back. It counts no time of a suspended machine."""
        ...

    def time(self) -> float:
        """Seconds since the epoch."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Block the thread for so long."""
        ...
