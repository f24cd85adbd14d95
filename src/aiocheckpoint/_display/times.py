"""Times as people read them."""

from __future__ import annotations

import time
from datetime import datetime

__all__ = ["ago", "clock", "due_shown", "moment", "now", "seconds_shown", "took"]

_SAME_YEAR = 300 * 86_400.0
_FEW, _A_WHILE, _MOST_SECONDS = 9.995, 119.95, 1e9


def now() -> float:
    """The time in seconds since the epoch."""
    return time.time()


def clock(at: float) -> str:
    """Show a time in the local zone: the time of today, a day of this year, or a date.

    Args:
        at: Seconds since the epoch. 0.0 is unknown.
    """
    if not at:
        return "-"
    try:
        moment = datetime.fromtimestamp(at).astimezone()
    except (ValueError, OverflowError, OSError):  # A header may hold any number.
        return "?"
    if moment.date() == datetime.fromtimestamp(now()).astimezone().date():
        return moment.strftime("%H:%M:%S")
    if abs(now() - at) < _SAME_YEAR:
        return moment.strftime("%b %d %H:%M")
    return moment.strftime("%Y-%m-%d")


def ago(at: float) -> str:
    """Show how long ago a time was, in its largest unit, such as "12 s ago".

    Args:
        at: Seconds since the epoch. 0.0 is unknown.
    """
    if not at:
        return "-"
    seconds = now() - at
    if seconds != seconds or abs(seconds) == float("inf"):  # noqa: PLR0124 - NaN
        return "?"
    if seconds < 0:
        return f"in {_largest(-seconds)}"
    return f"{_largest(seconds)} ago"


def due_shown(at: float) -> str:
    """Show when something is due, such as "due now" or "due in 40 s".

    Args:
        at: Seconds since the epoch. 0.0 is at once.
    """
    return "due now" if at <= now() else f"due {ago(at)}"


def _largest(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def seconds_shown(seconds: float) -> str:
    """Show how long something took, such as "0.031 s"."""
    return f"{seconds:.3f} s"


def took(seconds: float) -> str:
    """Show how long something took, to three digits or so, such as "0.03 s" or "4 min 10 s"."""
    if not 0 <= seconds < _MOST_SECONDS:  # Also NaN: a header may hold any number.
        return "?"
    if seconds < _A_WHILE:
        return f"{seconds:.2f} s" if seconds < _FEW else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(at: float) -> str:
    """Show a time in the local zone with its date, as saved notebooks are read on other days.

    Args:
        at: Seconds since the epoch. 0.0 is unknown.
    """
    if not at:
        return "-"
    try:
        return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # A header may hold any number.
        return "?"
