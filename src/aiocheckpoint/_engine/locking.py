"""Doing something while holding the lock of a run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from aiocheckpoint.errors import RunInProgressError

if TYPE_CHECKING:
    from asyncio import CancelledError
    from collections.abc import Awaitable, Callable

    from aiocheckpoint._concurrency.backends import Calls
    from aiocheckpoint.handlers._run_store import Slot

__all__ = ["supersede", "under_lock"]

_Result = TypeVar("_Result")
_POLL_SECONDS = 0.05


async def under_lock(
    slot: Slot,
    calls: Calls,
    work: Callable[[], Awaitable[_Result]],
    *,
    wait: float = 0.0,
    check: Callable[[], None] | None = None,
) -> _Result:
    """Do `work` while holding the lock of `slot`.

    Args:
        slot: The run's place.
        calls: How functions are called.
        work: What is done.
        wait: Seconds to wait for the lock.
        check: Raises where waiting any longer is of no use.
    """
    try:
        await _acquire(slot, calls, wait, check)
        result = await work()
        cancellation = await slot.release()
    except GeneratorExit:
        # The coroutine is thrown away and may not await any more.
        slot.abandon()
        raise
    except BaseException as error:
        # Also where Ctrl-C under `run` struck in the middle of the release above.
        supersede(await slot.release(), error)
        raise
    if cancellation is not None:
        raise cancellation
    return result


def supersede(cancellation: CancelledError | None, error: BaseException) -> None:
    """Let a cancellation that came while `error` was dealt with take its place, as in asyncio."""
    if cancellation is not None and isinstance(error, Exception):
        raise cancellation from error


async def _acquire(slot: Slot, calls: Calls, wait: float, check: Callable[[], None] | None) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            return await slot.acquire()
        except RunInProgressError:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
        if check is not None:
            check()
        await calls.sleep(min(_POLL_SECONDS, left))
