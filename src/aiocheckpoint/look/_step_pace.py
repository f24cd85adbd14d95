"""How long a step takes from here, by the progress that it reports."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["StepPace"]

_LEAST_SECONDS = 1.0
_ENOUGH_SECONDS = 10.0
_LEAST_SHARE = 0.01
"""Reports of less than 1 s say nothing. In the first 10 s, less than 1 % of the whole does not
either."""


class _Report(NamedTuple):
    done: float
    at: float


class StepPace:
    """The pace of one attempt at a step. All its times are of one clock.

    Live runs take `time.monotonic`, stored ones the seconds since the epoch.

    Args:
        began: When the attempt began.
        from_zero: Whether it began with nothing done. Not where it may go on at a cursor.
    """

    def __init__(self, began: float, *, from_zero: bool) -> None:
        self._zero = _Report(0.0, began) if from_zero else None
        self._first: _Report | None = None
        self._last: _Report | None = None
        self._total: float | None = None
        self._count = 0

    def report(self, done: float, total: float | None, at: float) -> None:
        """Take a report. One that takes something back, or has another total, begins anew."""
        last = self._last
        if last is not None and (done < last.done or total != self._total):
            self._zero = self._first = None
        self._last, self._total = _Report(done, at), total
        if self._first is None:
            self._first, self._count = self._last, 0
        else:
            self._count += 1

    def seconds_left(self, now: float) -> float | None:
        """Seconds until everything is done. None where too little is known, or it is overdue."""
        first, last, total = self._first, self._last, self._total
        if first is None or last is None or total is None or not last.done < total:
            return None
        left = self._left_since(first, self._count, now)
        if left is None and self._zero is not None:
            left = self._left_since(self._zero, self._count + 1, now)
        return left

    def _left_since(self, first: _Report, count: int, now: float) -> float | None:
        if self._last is None or self._total is None:
            return None
        gained, spent = self._last.done - first.done, self._last.at - first.at
        is_small = gained < self._total * _LEAST_SHARE and spent < _ENOUGH_SECONDS
        if gained <= 0 or spent < _LEAST_SECONDS or is_small:
            return None
        silent = now - self._last.at
        if silent > max(2 * spent, _ENOUGH_SECONDS):  # Its pace is not what it was.
            return None
        rest, pace = self._total - self._last.done, spent / gained
        # Since the last report it has done less than what a report usually tells.
        left = max(rest * pace - silent, (rest - gained / count) * pace)
        return left if left > 0 else None
