"""Checks of single values that users pass."""

from __future__ import annotations

import re
import sys

from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

__all__ = [
    "LONGEST_NAME",
    "checked_count",
    "checked_flag",
    "checked_limit",
    "checked_number",
    "checked_reason",
    "checked_timeout",
    "checked_wait",
    "joins_in_json",
]

LONGEST_NAME = 1000
"""The most characters in the name of a flow or step."""

_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def joins_in_json(text: str) -> bool:
    """Whether JSON gives another text back: it joins two surrogates to one character.

    Headers and idempotency keys are JSON, so that such a text would be one with the joined text.
    """
    return not text.isascii() and _PAIR.search(text) is not None


def checked_flag(name: str, flag: object) -> bool:
    """Give `flag`, an argument of that name, back if it is True or False."""
    if not isinstance(flag, bool):
        raise InvalidTypeError(f"{name}= is True or False, not a {type(flag).__name__}.")
    return flag


def checked_count(
    what: str, count: object, meaning: str, *, too_small: str = "it is {meaning}, at least 1"
) -> int:
    """Give `count` back if it is a number from 1 on.

    Args:
        what: Name of the argument with its "=".
        count: The argument of a user.
        meaning: The meaning of the number, such as "a number of runs".
        too_small: The message for a smaller number.

    Raises:
        InvalidTypeError: It is no whole number.
        InvalidValueError: It is too small.
    """
    if isinstance(count, bool) or not isinstance(count, int):
        raise InvalidTypeError(f"{what} is {meaning}, not a {type(count).__name__}.")
    if count < 1:
        raise InvalidValueError(f"{what}{count!r}: {too_small.format(meaning=meaning)}.")
    return count


def checked_number(what: str, number: object, meaning: str) -> float:
    """Give `number` back if it is a number. Its range is the caller's to check.

    Raises:
        InvalidTypeError: It is no number.
    """
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise InvalidTypeError(f"{what} is {meaning}, not a {type(number).__name__}.")
    return number


def checked_limit(limit: object) -> int:
    """Give `limit` back if it is a number of runs from 1 on."""
    return checked_count("limit=", limit, "a number of runs")


def checked_wait(wait: object) -> float:
    """Give `wait` back if it is a number of seconds from 0 on."""
    seconds = checked_number("wait", wait, "a number of seconds")
    if not seconds >= 0:
        raise InvalidValueError(f"wait={wait!r}: seconds to wait cannot be negative.")
    return float(seconds)


def checked_reason(reason: object) -> str | None:
    """Give the reason of a change by hand back. None for an empty one.

    Raises:
        InvalidTypeError: It is no text.
    """
    if reason is not None and not isinstance(reason, str):
        raise InvalidTypeError(f"reason= is a string, not a {type(reason).__name__}.")
    return reason or None


def checked_timeout(timeout: object, *, least: float | None = None) -> float:
    """Give `timeout` back if it is a number of seconds.

    Args:
        timeout: The argument of a user.
        least: The smallest number allowed. By default it must be more than 0.

    Raises:
        InvalidTypeError: It is no number.
        InvalidValueError: It is too small, or not finite.
    """
    seconds = checked_number("timeout=", timeout, "a number of seconds or None")
    enough = seconds > 0 if least is None else seconds >= least
    if not enough or seconds > sys.float_info.max:
        raise InvalidValueError(
            f"timeout={timeout!r}: it is a positive number of seconds, or None."
        )
    return float(seconds)
