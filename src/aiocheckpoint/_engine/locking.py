"""Work done while the lock of a run is held."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from aiocheckpoint._concurrency.threads import AbandonedCallError, prefer_cancellation
from aiocheckpoint.errors import RunInProgressError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["hold_lock"]

_Result = TypeVar("_Result")
_POLL_SECONDS = 0.05


async def hold_lock(
    run_store: RunStore,
    backend: Backend,
    work: Callable[[], Awaitable[_Result]],
    *,
    wait: float = 0.0,
    check: Callable[[], None] | None = None,
) -> _Result:
    """Do `work` while the lock of `run_store` is held.

    Args:
        run_store: The store of the run.
        backend: Does the blocking work.
        work: The function to await.
        wait: Seconds to wait for the lock.
        check: Called between two attempts to take the lock. It raises to end the wait.
    """
    try:
        await _acquire(run_store, backend, wait, check)
        result = await work()
        cancellation = await run_store.release()
    except GeneratorExit:
        # The coroutine is being closed and may not await any more.
        run_store.release_nowait()
        raise
    except AbandonedCallError:
        # The step is still running. The end of the process releases the lock, and until then no
        # other owner can begin the same step.
        raise
    except BaseException as error:
        # Also where Ctrl-C under `run` struck in the middle of the release above. A second one may
        # strike in the middle of this one.
        try:
            cancellation = await run_store.release()
        except BaseException:
            run_store.release_nowait()
            raise
        prefer_cancellation(cancellation, error)
        raise
    if cancellation is not None:
        raise cancellation
    return result


async def _acquire(
    run_store: RunStore, backend: Backend, wait: float, check: Callable[[], None] | None
) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            return await run_store.acquire()
        except RunInProgressError:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
        if check is not None:
            check()
        await backend.sleep(min(_POLL_SECONDS, left))
