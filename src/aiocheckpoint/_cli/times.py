"""Times as people write and read them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

from aiocheckpoint._cli.problems import UsageProblem

__all__ = [
    "ago",
    "clock",
    "due_shown",
    "now",
    "parse_due",
    "parse_duration",
    "parse_time",
    "seconds_shown",
]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_SAME_YEAR = 300 * 86_400.0
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)


def now() -> float:
    """The time in seconds since the epoch."""
    return time.time()


def parse_duration(text: str) -> timedelta:
    """Read a duration such as "90s", "2h", "30d" or "1h30m".

    Raises:
        UsageProblem: It is none, or too long.
    """
    parts = _PART.findall(text)
    if not parts or "".join(map("".join, parts)) != text:
        raise UsageProblem(
            f"{text!r} is no duration. Write a number with s, m, h, d or w, such as 90s, 2h or 30d."
        )
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError:
        raise UsageProblem(f"the duration {text!r} is too long.") from None


def parse_time(text: str) -> float:
    """Read a point in time: a duration ago, a date, or a time of RFC 3339.

    A time without an offset is local.

    Returns:
        Seconds since the epoch.

    Raises:
        UsageProblem: It is none.
    """
    if _PART.match(text) and text[-1] in _UNITS:
        return now() - parse_duration(text).total_seconds()
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageProblem(
            f"{text!r} is no time. Write how long ago, such as 2h or 30d, or a date such as "
            "2026-11-30, or a time such as 2026-11-30T10:44:50Z."
        ) from None


def parse_due(text: str) -> timedelta | datetime:
    """Read a time to come: a duration from now on, a date, or a time of RFC 3339.

    Raises:
        UsageProblem: It is none.
    """
    if _PART.match(text) and text[-1] in _UNITS:
        return parse_duration(text)
    return datetime.fromtimestamp(parse_time(text), UTC)


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
