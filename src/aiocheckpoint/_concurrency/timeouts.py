"""Time limits of users' coroutines."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from aiocheckpoint._tracebacks import calls_user_code
from aiocheckpoint.errors import StepTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["StepTimeout", "run_with_timeout"]

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class StepTimeout:
    """The time limit of a part of a step.

    Args:
        seconds: The limit.
        step: Name of the step, for the error.
        part: "load", "step" or "save".
    """

    seconds: float
    step: str
    part: str


@calls_user_code
async def run_with_timeout(limit: StepTimeout, work: Awaitable[_Result]) -> _Result:
    """Await `work`, and cancel it when its time is over.

    Raises:
        StepTimeoutError: The time was over, and `work` has ended. Raised even if `work` returned a
            result after its cancellation, because it was interrupted in the middle.
    """
    scope = asyncio.timeout(limit.seconds)
    try:
        async with scope:
            result = await work
    except TimeoutError as error:
        if not scope.expired():
            raise  # Raised by `work` itself.
        # The cause is the cancellation, which shows the line at which `work` was.
        raise StepTimeoutError(limit.step, limit.part, limit.seconds) from error.__cause__
    if scope.expired():
        raise StepTimeoutError(limit.step, limit.part, limit.seconds)
    return result
