"""Time limits of what a user's coroutine may take."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from aiocheckpoint.errors import StepTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["StepTimeout", "run_with_timeout"]

_Result = TypeVar("_Result")


class StepTimeout:
    """How long a part of a step may take.

    Args:
        seconds: So long.
        step: Name of the step, for the error.
        part: "load", "step" or "save".
    """

    __slots__ = ("part", "seconds", "step")

    def __init__(self, seconds: float, step: str, part: str) -> None:
        self.seconds: float = seconds
        self.step: str = step
        self.part: str = part


async def run_with_timeout(limit: StepTimeout, work: Awaitable[_Result]) -> _Result:
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
