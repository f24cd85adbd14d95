"""Time limits of users' coroutines."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from aiocheckpoint._tracebacks import calls_user_code
from aiocheckpoint.errors import StepTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

__all__ = ["StepTimeout", "paused_timeout", "run_with_timeout"]

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


class _RunningTimeout:
    """The time limit of a call that is under way. Waits that are not the call's own pause it.

    Args:
        scope: Cancels the call when its time is over.
    """

    __slots__ = ("_left", "_pauses", "_scope")

    def __init__(self, scope: asyncio.Timeout) -> None:
        self._scope = scope
        self._pauses = 0
        self._left = 0.0

    def pause(self) -> None:
        self._pauses += 1
        when = self._scope.when()
        if self._pauses == 1 and when is not None:
            self._left = when - asyncio.get_running_loop().time()
            self._reschedule(None)

    def resume(self) -> None:
        self._pauses -= 1
        if self._pauses == 0:
            self._reschedule(asyncio.get_running_loop().time() + self._left)

    def _reschedule(self, when: float | None) -> None:
        with suppress(RuntimeError):  # Its time is over, or the call has ended before its task.
            self._scope.reschedule(when)


_running: ContextVar[_RunningTimeout | None] = ContextVar("aiocheckpoint_timeout", default=None)


@contextmanager
def paused_timeout() -> Generator[None]:
    """Let the time limit of the call in which the block is executed stand still. On its loop."""
    running = _running.get()
    if running is None:
        yield
        return
    running.pause()
    try:
        yield
    finally:
        running.resume()


@calls_user_code
async def run_with_timeout(limit: StepTimeout, work: Awaitable[_Result]) -> _Result:
    """Await `work`, and cancel it when its time is over.

    Raises:
        StepTimeoutError: The time was over, and `work` has ended. Raised even if `work` returned a
            result after its cancellation, because it was interrupted in the middle.
    """
    scope = asyncio.timeout(limit.seconds)
    outer = _running.get()
    _running.set(_RunningTimeout(scope))
    try:
        async with scope:
            result = await work
    except TimeoutError as error:
        if not scope.expired():
            raise  # Raised by `work` itself.
        # The cause is the cancellation, which shows the line at which `work` was.
        raise StepTimeoutError(limit.step, limit.part, limit.seconds) from error.__cause__
    finally:
        _running.set(outer)  # A token is refused where the coroutine is closed in another context.
    if scope.expired():
        raise StepTimeoutError(limit.step, limit.part, limit.seconds)
    return result
