"""Checks of single values that users pass."""

from __future__ import annotations

import sys
from typing import Any

from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

__all__ = ["checked_flag", "checked_limit", "checked_timeout", "checked_wait"]


def checked_flag(name: str, flag: object) -> bool:
    """Give `flag`, an argument of that name, back if it is True or False."""
    if not isinstance(flag, bool):
        raise InvalidTypeError(f"{name}= is True or False, not a {type(flag).__name__}.")
    return flag


def checked_limit(limit: Any) -> int:  # noqa: ANN401 - any object of a user
    """Give `limit` back if it is a number of runs from 1 on."""
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise InvalidTypeError(f"limit= is a number of runs, not a {type(limit).__name__}.")
    if limit < 1:
        raise InvalidValueError(f"limit={limit!r}: it is a number of runs, at least 1.")
    return limit


def checked_wait(wait: object) -> float:
    """Give `wait` back if it is a number of seconds from 0 on."""
    if isinstance(wait, bool) or not isinstance(wait, (int, float)):
        raise InvalidTypeError(f"wait is a number of seconds, not a {type(wait).__name__}.")
    if not wait >= 0:
        raise InvalidValueError(f"wait={wait!r}: seconds to wait cannot be negative.")
    return float(wait)


def checked_timeout(timeout: object, *, least: float | None = None) -> float:
    """Give `timeout` back if it is a number of seconds.

    Args:
        timeout: The argument of a user.
        least: The smallest number allowed; by default it must be more than 0.

    Raises:
        InvalidTypeError: It is no number.
        InvalidValueError: It is too small, or not finite.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise InvalidTypeError(
            f"timeout= is a number of seconds or None, not a {type(timeout).__name__}."
        )
    enough = timeout > 0 if least is None else timeout >= least
    if not enough or timeout > sys.float_info.max:
        raise InvalidValueError(
            f"timeout={timeout!r}: a time limit is a positive number of seconds; None sets none."
        )
    return float(timeout)
