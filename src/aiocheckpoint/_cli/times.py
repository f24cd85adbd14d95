"""Times as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._display import times

__all__ = ["parse_due", "parse_duration", "parse_time"]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)


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
        return times.now() - parse_duration(text).total_seconds()
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
