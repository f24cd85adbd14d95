"""Time limits of what a user's coroutine may take."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from aiocheckpoint.errors import InvalidTypeError, InvalidValueError, StepTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["Limit", "checked_timeout", "within"]

_Result = TypeVar("_Result")


class Limit(NamedTuple):
    """How long a part of a step may take.

    Attributes:
        seconds: So long.
        step: Name of the step, for the error.
        part: "load", "step" or "save".
    """

    seconds: float
    step: str
    part: str


async def within(limit: Limit, work: Awaitable[_Result]) -> _Result:
    """Await `work`, and cancel it when its time is over.

    Raises:
        StepTimeoutError: It was; `work` has ended, be it as if nothing had cancelled it: it was
            broken off in the middle all the same.
    """
    scope = asyncio.timeout(limit.seconds)
    try:
        async with scope:
            result = await work
    except TimeoutError as error:
        if not scope.expired():
            raise  # one of its own
        raise StepTimeoutError(limit.step, limit.part, limit.seconds) from error
    if scope.expired():
        raise StepTimeoutError(limit.step, limit.part, limit.seconds)
    return result


def checked_timeout(timeout: object, *, least: float | None = None) -> float:
    """Give `timeout` back if it is a number of seconds.

    Args:
        timeout: What a user passed.
        least: The least that can be meant; by default it must be more than 0.

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
