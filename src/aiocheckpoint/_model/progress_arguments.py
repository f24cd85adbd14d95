"""Checks of the arguments of `current_step().progress` and `track`."""

from __future__ import annotations

import operator
from typing import Any, SupportsFloat, SupportsIndex, TypeAlias

from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

__all__ = ["LONGEST_NOTE", "MOST", "Amount", "checked_amount", "checked_note", "checked_total"]

Amount: TypeAlias = SupportsFloat | SupportsIndex
"""A real number: an int, a float, one of numpy, a `Decimal`, a `Fraction`."""
LONGEST_NOTE = 200
"""The characters of a note. The rest is left out."""
MOST = 1e300
"""The largest amount. Displays divide amounts, and format them as floats."""


def checked_amount(what: str, amount: object) -> float:
    """Give an amount back as an int or float.

    Args:
        what: Name of the argument.
        amount: The argument of a user: an int, a float, or a number of another kind, such as one
            of numpy, a `Decimal` or a `Fraction`.

    Raises:
        InvalidTypeError: It is no real number, or a bool.
        InvalidValueError: It is negative, not finite, or too large for a float.
    """
    number: float
    if type(amount) is int or type(amount) is float:
        number = amount
    elif isinstance(amount, bool) or not isinstance(amount, (SupportsFloat, SupportsIndex)):
        raise InvalidTypeError(
            f"{what} of progress() is a number, such as 40 of 100, not a {type(amount).__name__}."
        )
    else:
        number = _converted(what, amount)
    if not 0 <= number <= MOST:
        raise InvalidValueError(
            f"{what} of progress() is a finite number from 0 on. Leave total= out where it is not "
            "known."
        )
    return number


def checked_total(total: object) -> float | None:
    """Give `total` back as an int or float, or None.

    Raises:
        InvalidTypeError, InvalidValueError: As `checked_amount` has them.
    """
    return None if total is None else checked_amount("total=", total)


def checked_note(note: object) -> str | None:
    """Give `note` back as a plain text of at most 200 characters, or None.

    Raises:
        InvalidTypeError: It is no text.
    """
    if note is None:
        return None
    if not isinstance(note, str):
        raise InvalidTypeError(
            f'note= of progress() is a short text, such as "rows", not a {type(note).__name__}.'
        )
    return str.__getitem__(note, slice(LONGEST_NOTE))


def _converted(what: str, amount: Any) -> float:  # noqa: ANN401
    """Convert a number of another kind. Whole ones stay whole."""
    try:
        return _whole_or_float(amount)
    except OverflowError:
        return float("inf")
    except Exception as error:
        raise InvalidTypeError(
            f"{what} of progress() is a {type(amount).__name__} that cannot be made a float."
        ) from error


def _whole_or_float(amount: Any) -> float:  # noqa: ANN401
    """Convert a number, or raise an exception of any kind."""
    # The attributes of numpy, whose bools are numbers to `float`.
    if getattr(getattr(amount, "dtype", None), "kind", None) == "b":
        raise TypeError
    try:
        return operator.index(amount)
    except TypeError:  # Arrays have `__index__` even where they hold a fraction.
        return float(amount)
