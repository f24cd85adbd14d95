"""Work done while the lock of a run is held, and the wait for that lock.

Callers of one process that wait for a run do not ask for its lock again and again. They are in the
waiting room of the run's location, and the end of the run wakes them. Callers that wait for a run
of another process ask for its lock in turns. A store that hears of the end of such a run wakes one
of them.
"""

from __future__ import annotations

import math
import os
import random
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, NamedTuple, Self, TypeVar

from aiocheckpoint._concurrency.threads import AbandonedCallError, prefer_cancellation
from aiocheckpoint._concurrency.waiting_room import Waiter, count_waiting, notify
from aiocheckpoint.errors import RunInProgressError

if TYPE_CHECKING:
    from asyncio import CancelledError
    from collections.abc import Awaitable, Callable, Generator

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._engine.shared_ends import RunEnd
    from aiocheckpoint.handlers._port import SnapshotPort
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["Patience", "hold_lock", "wait_a_moment"]

_Result = TypeVar("_Result")
_POLL_SECONDS = 0.05
"""Between two looks at a run of another process in a store of dicts."""
_POLL_SECONDS_HERE = 5.0
"""For a run of this process, whose end wakes the callers. One may be missed, by Ctrl-C in it."""

_STRETCH = 0.8, 1.2
_MOST_POLL_SECONDS = 1.0
"""However many callers wait: a loop that was stopped, and not closed, takes a wake-up with it."""


class _Asked(NamedTuple):
    """When a caller last asked for the lock of a run by itself. All ask at one rate.

    Attributes:
        at: The time, by `time.monotonic`.
        stretch: Stretches the pause behind it, so that processes do not ask in step.
        lease_left: Seconds after which the next try may succeed, because a lease is over then.
    """

    at: float
    stretch: float
    lease_left: float = math.inf

    @classmethod
    def now(cls, lease_left: float | None = None) -> Self:
        """Make that of a try that ends now."""
        stretch = random.uniform(*_STRETCH)  # noqa: S311 - no secret
        return cls(time.monotonic(), stretch, math.inf if lease_left is None else lease_left)


_asked: dict[str, _Asked] = {}
"""The last tries by location."""

_hearing: dict[str, object] = {}
"""The callers that hear of the end of a run in another process, one for each location."""

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
    try:
        with _hearing_of_release(run_store):
            return await _wait(run_store, backend, patience, deadline)
    finally:
        if not count_waiting(run_store.location):
            _asked.pop(run_store.location, None)


@contextmanager
def _hearing_of_release(run_store: RunStore) -> Generator[None, None, None]:
    """Let the store wake one of the callers that wait for a run of another process."""
    port, location, me = run_store.port, run_store.location, object()
    if port is None or _hearing.setdefault(location, me) is not me:
        yield
        return
    try:
        with port.on_release(run_store.run_id, partial(notify, location, None)):
            yield
    finally:
        _hearing.pop(location, None)


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
                await backend.wait_at_most(waiter, _seconds_to_wait(run_store, deadline))
                patience.check()
        except BaseException:
            if not waiter.leave():
                notify(location, None)  # It was this call's turn. It is another one's now.
            raise
        is_woken = not (waiter.leave() and entered)
        asks = not is_woken and _is_due(run_store, deadline)
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
    except RunInProgressError as error:
        if time.monotonic() >= deadline:
            raise
        _asked[run_store.location] = _Asked.now(error.lease_left)
        return False
    return True


def _seconds_to_wait(run_store: RunStore, deadline: float) -> float:
    """Seconds until a caller looks again whether it is time to ask for the lock."""
    pause = min(_pause(run_store) * count_waiting(run_store.location), _MOST_POLL_SECONDS)
    return max(0.0, min(pause, deadline - time.monotonic()))


def _is_due(run_store: RunStore, deadline: float) -> bool:
    """Whether it is time to ask for the lock: no other caller did so lately, or the wait ends."""
    now, asked = time.monotonic(), _asked.get(run_store.location)
    if now < deadline and asked is not None and now - asked.at < _pause(run_store):
        return False
    _asked[run_store.location] = _Asked.now()
    return True


def _pause(run_store: RunStore) -> float:
    if run_store.location in _held:
        return _POLL_SECONDS_HERE
    pause, asked = _seconds_between_claims(run_store.port), _asked.get(run_store.location)
    if asked is None:
        return pause
    # Where the lease is all but over, the next try is right behind its end.
    return min(pause * asked.stretch, max(asked.lease_left, _POLL_SECONDS))


def _seconds_between_claims(port: SnapshotPort | None) -> float:
    """How often all callers here together ask for the lock of a run of another process."""
    return _POLL_SECONDS if port is None else port.seconds_between_claims(len(_asked))


async def wait_a_moment(
    port: SnapshotPort | None, run_id: str | None, backend: Backend, seconds: float
) -> None:
    """Wait until it is time to look at a run of another process, or it is released.

    Args:
        port: The store, or None.
        run_id: The run, or None.
        backend: Waits.
        seconds: The most to wait.
    """
    pause = max(0.0, min(_seconds_between_claims(port), seconds))
    if port is None:
        await backend.sleep(pause)
        return
    room = f"a moment of {port.locate(run_id)}"
    waiter = Waiter(room, shares=False, loop=backend.loop)
    waiter.enter()
    try:
        with port.on_release(run_id, partial(notify, room, None)):
            await backend.wait_at_most(waiter, pause)
    finally:
        waiter.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_held.clear)  # They are held by the parent.
    os.register_at_fork(after_in_child=_asked.clear)
    os.register_at_fork(after_in_child=_hearing.clear)
