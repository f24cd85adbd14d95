"""Waits that end: for a function that may take long, such as a look at a disk that hangs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["call_within"]

_Result = TypeVar("_Result")


def call_within(seconds: float, function: Callable[[], _Result]) -> _Result:
    """Call a function in a thread of its own, and wait for its end for so long.

    Args:
        seconds: The longest wait. The thread goes on behind it, and keeps no process from its end.
        function: The function.

    Returns:
        Its result.

    Raises:
        TimeoutError: It takes longer.
        RuntimeError: No thread can be started.
        BaseException: The exception of the function.
    """
    results: list[_Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=work, name="aiocheckpoint-short-wait", daemon=True)
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    if errors:
        raise errors.pop()
    raise TimeoutError
