"""The thread that tells the last progress of steps that have said nothing since.

One thread serves all steps of a process, while somebody listens and there is progress to tell.
"""

from __future__ import annotations

import heapq
import itertools
import os
import time
import weakref
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol

from aiocheckpoint._concurrency.lone_thread import LoneThread

__all__ = ["Timed", "call_at"]

_NAME = "aiocheckpoint-progress"
_IDLE_SECONDS = 0.2
"""The thread waits so long for further work before it ends."""


class Timed(Protocol):
    """Something that is called at a time."""

    def on_time(self) -> None:
        """Called when its time has come, in the thread of the timer."""


_Entry = tuple[float, int, weakref.ref[Timed]]


class _Timer:
    """Calls at their times. It holds what it calls by weak references."""

    def __init__(self) -> None:
        self._coming: SimpleQueue[_Entry] = SimpleQueue()
        self._entries: list[_Entry] = []
        self._numbers = itertools.count()  # No two entries are equal.
        self._has_work = True
        self._thread = LoneThread(_NAME, self._turn, self._is_wanted)

    def call_at(self, timed: Timed, due: float) -> None:
        """Call `timed` at a time of `time.monotonic`, in any thread."""
        self._coming.put((due, next(self._numbers), weakref.ref(timed)))
        if not self._thread.living:
            self._thread.start()

    def _is_wanted(self) -> bool:
        return self._has_work or not self._coming.empty()

    def _turn(self) -> None:
        """Wait for the next time, or for further work, and make the calls that are due."""
        entries, seconds = self._entries, _IDLE_SECONDS
        if entries:
            seconds = max(0.0, entries[0][0] - time.monotonic())
        with suppress(Empty):
            heapq.heappush(entries, self._coming.get(timeout=seconds))
        while entries and entries[0][0] <= time.monotonic():
            timed = heapq.heappop(entries)[2]()
            if timed is not None:
                timed.on_time()
        self._has_work = bool(entries)


_timer = _Timer()


def call_at(timed: Timed, due: float) -> None:
    """Call `timed.on_time` in the thread of the timer.

    Args:
        timed: It is held weakly.
        due: When, by `time.monotonic`.
    """
    _timer.call_at(timed, due)


def _reset_after_fork() -> None:
    """Forget the thread, which the child has not, and the steps, which are the parent's."""
    global _timer  # noqa: PLW0603 - one for each process
    _timer = _Timer()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
