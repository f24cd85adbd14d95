"""Work done while the lock of a run is held, and the wait for that lock.

Callers of one process that wait for a run do not ask for its lock again and again. They are in the
waiting room of the run's location, and the end of the run wakes them. Callers that wait for a run
of another process ask for its lock in turns.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from aiocheckpoint._concurrency.threads import AbandonedCallError, prefer_cancellation
from aiocheckpoint._concurrency.waiting_room import Waiter, count_waiting, notify
from aiocheckpoint.errors import RunInProgressError

if TYPE_CHECKING:
    from asyncio import CancelledError
    from collections.abc import Awaitable, Callable

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._engine.shared_ends import RunEnd
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["POLL_SECONDS", "Patience", "hold_lock"]

_Result = TypeVar("_Result")
POLL_SECONDS = 0.05
"""Between two looks at a run of another process."""
_POLL_SECONDS_HERE = 5.0
"""For a run of this process, whose end wakes the callers. One may be missed, by Ctrl-C in it."""

_MOST_POLL_SECONDS = 1.0
"""However many callers wait: a loop that was stopped, and not closed, takes a wake-up with it."""

_asked: dict[str, float] = {}
"""When a caller last asked for the lock of a run by itself, by location. All ask at one rate."""

_held: dict[str, RunStore] = {}
"""The runs whose lock this process holds, by location."""


@dataclass(frozen=True, slots=True)
class Patience(Generic[_Result]):
    """How a call waits for the lock of a run.

    Attributes:
        seconds: The most seconds to wait.
        check: Called after each wait. It raises to end the waiting.
        share: Makes the result of this call from the end of the run that it waited for. None
            where it has to run for itself. None for a call that shares nothing.
    """

    seconds: float
    check: Callable[[], None] = lambda: None
    share: Callable[[RunEnd], Awaitable[_Result | None]] | None = None


async def hold_lock(
    run_store: RunStore,
    backend: Backend,
    work: Callable[[], Awaitable[_Result]],
    *,
    patience: Patience[_Result] | None = None,
    end: Callable[[], RunEnd | None] = lambda: None,
) -> _Result:
    """Do `work` while the lock of `run_store` is held, or share the result of another call.

    Args:
        run_store: The store of the run.
        backend: Does the blocking work.
        work: The function to await.
        patience: How to wait for the lock. By default it is not waited for.
        end: Describes the end of the run to calls that wait for it. None where they have to run
            for themselves.

    Raises:
        RunInProgressError: Another owner has the lock, also at the end of the wait.
        BaseException: What `work` or a function of `patience` raises, or a cancellation.
    """
    try:
        shared = await _acquire(run_store, backend, patience)
        if shared is not None:
            return shared
        _held[run_store.location] = run_store
        result = await work()
        cancellation = await run_store.release()
    except GeneratorExit:
        # The coroutine is being closed and may not await any more.
        run_store.release_nowait()
        raise
    except AbandonedCallError as abandoned:
        # The step is still running. The end of the process releases the lock, and until then no
        # other owner can begin the same step.
        raise abandoned.plain() from None
    except BaseException as error:
        # Also where Ctrl-C under `run` struck in the middle of the release above.
        prefer_cancellation(await _release_surely(run_store), error)
        raise
    finally:
        if _held.get(run_store.location) is run_store:
            del _held[run_store.location]
            notify(run_store.location, end())
    if cancellation is not None:
        raise cancellation
    return result


async def _release_surely(run_store: RunStore) -> CancelledError | None:
    """Release the lock, also where Ctrl-C strikes in the middle of it."""
    try:
        return await run_store.release()
    except BaseException:
        run_store.release_nowait()
        raise


async def _acquire(
    run_store: RunStore, backend: Backend, patience: Patience[_Result] | None
) -> _Result | None:
    """Take the lock, or give the result of the run that had it."""
    if patience is None:
        await run_store.acquire()
        return None
    deadline = time.monotonic() + patience.seconds
    if await _takes(run_store, deadline):
        return None
    _asked[run_store.location] = time.monotonic()
    try:
        return await _wait(run_store, backend, patience, deadline)
    finally:
        if not count_waiting(run_store.location):
            _asked.pop(run_store.location, None)


async def _wait(
    run_store: RunStore, backend: Backend, patience: Patience[_Result], deadline: float
) -> _Result | None:
    """Wait for the lock and take it, or give the result of the run that had it."""
    location, asks = run_store.location, False
    is_woken = True
    while True:
        waiter = Waiter(location, shares=patience.share is not None, loop=backend.loop)
        entered = waiter.enter()
        try:
            # The look comes after the entry, so that no end of a run is missed in between.
            asks = location not in _held if is_woken else asks
            takes = asks and await _takes(run_store, deadline)
            if entered and not takes:
                patience.check()
                await backend.wait_at_most(waiter, _seconds_to_wait(location, deadline))
                patience.check()
        except BaseException:
            if not waiter.leave():
                notify(location, None)  # It was this call's turn. It is another one's now.
            raise
        is_woken = not (waiter.leave() and entered)
        asks = not is_woken and _is_due(location, deadline)
        if takes:
            return None
        if waiter.result is not None and patience.share is not None:
            shared = await patience.share(waiter.result)
            if shared is not None:
                return shared


async def _takes(run_store: RunStore, deadline: float) -> bool:
    """Take the lock, and return whether that was possible.

    Raises:
        RunInProgressError: Another owner has it, and the time is over.
    """
    try:
        await run_store.acquire()
    except RunInProgressError:
        if time.monotonic() >= deadline:
            raise
        return False
    return True


def _seconds_to_wait(location: str, deadline: float) -> float:
    """Seconds until a caller looks again whether it is time to ask for the lock."""
    pause = min(_pause(location) * count_waiting(location), _MOST_POLL_SECONDS)
    return max(0.0, min(pause, deadline - time.monotonic()))


def _is_due(location: str, deadline: float) -> bool:
    """Whether it is time to ask for the lock: no other caller did so lately, or the wait ends."""
    now = time.monotonic()
    if now < deadline and now - _asked.get(location, 0.0) < _pause(location):
        return False
    _asked[location] = now
    return True


def _pause(location: str) -> float:
    return _POLL_SECONDS_HERE if location in _held else POLL_SECONDS


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_held.clear)  # They are held by the parent.
    os.register_at_fork(after_in_child=_asked.clear)
