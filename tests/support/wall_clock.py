"""A wall clock that a test sets forward, for runs that are due later."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


class WallClock:
    """The wall clock of this process, which `advance` sets forward. `time.monotonic` stays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of `time.time` for the time of a test."""
        self._real, self._ahead = time.time, 0.0
        monkeypatch.setattr(time, "time", self.now)

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._real() + self._ahead

    def advance(self, seconds: float) -> None:
        """Set it forward."""
        self._ahead += seconds

    def advance_to(self, moment: float) -> None:
        """Set it forward to a moment, unless that is over."""
        self.advance(max(0.0, moment - self.now()))
