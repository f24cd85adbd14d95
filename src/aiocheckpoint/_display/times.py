"""Times and lengths of time as people read them. Each way to write one has its function here."""

from __future__ import annotations

import time
from datetime import datetime

__all__ = [
    "about_left",
    "ago",
    "clock",
    "due_shown",
    "moment",
    "now",
    "passed_and_left",
    "stopwatch",
    "took",
    "took_exactly",
    "when",
]

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


def when(at: float) -> str:
    """Show how long ago a time was, with its date: "12 s ago (2026-11-30 17:28:53)".

    Cards and texts are saved and read on other days, when "12 s ago" alone says nothing.

    Args:
        at: Seconds since the epoch. 0.0 is unknown, and shown as "".
    """
    return f"{ago(at)} ({moment(at)})" if at else ""


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


def took(seconds: float) -> str:
    """Show how long something took, to three digits or so, such as "0.03 s" or "4 min 10 s"."""
    if not 0 <= seconds < _MOST_SECONDS:  # Also NaN: a header may hold any number.
        return "?"
    if seconds < _A_WHILE:
        return f"{seconds:.2f} s" if seconds < _FEW else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


def took_exactly(seconds: float) -> str:
    """Show how long something took, to the millisecond if that was short, such as "0.031 s"."""
    return f"{seconds:.3f} s" if 0 <= seconds < _A_WHILE else took(seconds)


def stopwatch(seconds: float) -> str:
    """Show how long something goes on, such as "0:41" or "2:05:09"."""
    if not seconds < _MOST_SECONDS:  # Also NaN.
        return "?"
    minutes, rest = divmod(int(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def about_left(seconds: float) -> str:
    """Show how long something will take, such as "about 4 min left"."""
    for unit, size in (("h", 3_600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"about {seconds / size:.0f} {unit} left"
    return f"about {max(seconds, 1.0):.0f} s left"


def passed_and_left(passed: float | None, left: float | None) -> str:
    """Show a clock that runs, and how long it will, such as "0:41, about 0:25 left".

    Args:
        passed: Seconds since the beginning, or None where that is unknown.
        left: Seconds until the end, or None where that is unknown.
    """
    shown = "" if passed is None else stopwatch(passed)
    rest = "" if left is None else f"about {stopwatch(left + 0.5)} left"
    return ", ".join(filter(None, (shown, rest)))


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
