"""Limits how many runs of a flow start at once on an event loop, so that a crowd does not stall it.

The longest stalls of a crowd are full garbage collections, which visit the objects of all runs. A
run that has started has about 40 of them, a run that waits here has 11, and a bare task has 6. With
10,000 runs on SQLite, the limit of blocking calls in progress cut the longest stall of the loop
from 172 ms to 71 ms. Bare tasks take 34 ms (benchmarks/many_runs.py on two cores).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Self
from weakref import WeakKeyDictionary, ref

__all__ = ["StartThrottle", "start_throttle"]

_STARTS_PER_TURN = 64
"""Without this limit, the turn in which 10,000 tasks take their first step is about 8 ms longer."""

_MOST_CALLS = 512
"""The number of requests that the SQLite writer takes into one batch."""

_MOST_READS = 4
"""As many as there are threads for snapshots."""


class StartThrottle:
    """Lets runs start while few blocking calls of their flow are in progress on their loop.

    Only the library's own blocking calls count, such as the write of a snapshot. They always end
    by themselves, so a waiting run always starts. Steps do not count, and any number of runs can
    wait in steps.

    A blocking call is in progress for the time of a `with` block.

    Attributes:
        reads: Held for each read that takes no lock. The next ones wait on the loop, so that the
            snapshot of a step never waits in the threads behind hundreds of them.
    """

    def __init__(self) -> None:
        self.reads: asyncio.Semaphore = asyncio.Semaphore(_MOST_READS)
        self._calls = 0
        self._started = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._scheduled = False

    def __enter__(self) -> Self:
        self._calls += 1
        return self

    def __exit__(self, *exception: object) -> None:
        self._calls -= 1
        if self._waiting:
            with contextlib.suppress(RuntimeError):  # Its loop has gone.
                self._schedule()

    def ask(self) -> asyncio.Future[None] | None:
        """Ask for the start of one more run. Give a future to await if it has to wait."""
        self._schedule()
        if not self._waiting and self._has_room():
            self._started += 1
            return None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    def _has_room(self) -> bool:
        # A run that has just started makes its first call only later.
        return self._started < _STARTS_PER_TURN and self._calls + self._started < _MOST_CALLS

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        self._scheduled = False
        self._started = 0
        while self._waiting and self._has_room():
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                self._started += 1
        if self._started:
            self._schedule()


# Runs hold their throttle, so nothing here keeps a loop that was left with waiting runs. A throttle
# holds its loop by way of the futures of waiting runs, so it is held weakly here.
_ByLoop = WeakKeyDictionary[asyncio.AbstractEventLoop, "ref[StartThrottle]"]
_throttles: WeakKeyDictionary[object, _ByLoop] = WeakKeyDictionary()


def start_throttle(flow: object, loop: asyncio.AbstractEventLoop) -> StartThrottle:
    """Give the throttle of a flow on a loop.

    Flows have throttles of their own, so that a slow store holds up no run of another store.

    Args:
        flow: An object that each flow has of its own, such as its step threads.
        loop: The loop.
    """
    by_loop = _throttles.get(flow)
    if by_loop is None:  # Not by `setdefault` alone, which would make one for each run.
        by_loop = _throttles.setdefault(flow, WeakKeyDictionary())
    reference = by_loop.get(loop)
    throttle = None if reference is None else reference()
    if throttle is None:
        throttle = StartThrottle()
        by_loop[loop] = ref(throttle)
    return throttle
