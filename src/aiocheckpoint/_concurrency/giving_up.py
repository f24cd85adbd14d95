"""Blocking calls of a store whose caller may give them up.

A thread that waits for a store out of reach cannot be cancelled. So it looks here, now and then,
whether anybody still wants its result.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = [
    "Answers",
    "StoreCall",
    "giving_up_after",
    "is_given_up",
    "may_be_given_up",
    "stall_seconds",
]

_STALL_SECONDS = 1.0
"""A store counts as stalled when it has ended no call for so long, though calls wait. The flush of
a slow disk may take as long. A cancelled run then goes unrecorded, and is resumed as one that was
killed."""


def stall_seconds() -> float:
    """Seconds without the end of a call after which a store counts as stalled."""
    return _STALL_SECONDS


class Answers:
    """Counts the answers of a store on another machine, whose calls are repeated without one.

    Attributes:
        count: Changes with each answer.
    """

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count: int = 0


class StoreCall:
    """A function of a store on another machine, to be called in a thread for a task.

    Args:
        function: The function.
    """

    __slots__ = ("_function", "given_up_at")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.given_up_at: float = math.inf

    def __call__(self, *args: Any) -> Any:  # noqa: ANN401
        outer, _here.call = _here.call, self
        try:
            return self._function(*args)
        finally:
            _here.call = outer

    def give_up(self, seconds: float = 0.0) -> None:
        """Let the function end early, so many seconds from now on, if it only waits."""
        self.given_up_at = min(self.given_up_at, time.monotonic() + seconds)


class _Here(threading.local):
    """The facts of this thread.

    Attributes:
        call: The call that it makes, or None.
        given_up_at: When the caller of everything in this thread gives up.
    """

    call: StoreCall | None = None
    given_up_at: float = math.inf


_here = _Here()


@contextmanager
def giving_up_after(seconds: float) -> Generator[None, None, None]:
    """Give up whatever blocks this thread in a `with` block, so many seconds after its begin."""
    outer = _here.given_up_at
    _here.given_up_at = min(outer, time.monotonic() + seconds)
    try:
        yield
    finally:
        _here.given_up_at = outer


def may_be_given_up() -> bool:
    """Whether the caller of this thread may give up, so that a wait has to look now and then."""
    return _here.call is not None or _here.given_up_at < math.inf


def is_given_up() -> bool:
    """Whether nobody wants the result of this thread's blocking call any more."""
    at = _here.given_up_at if _here.call is None else _here.call.given_up_at
    return min(at, _here.given_up_at) <= time.monotonic()
