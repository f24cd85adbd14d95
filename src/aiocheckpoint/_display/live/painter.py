"""The thread that paints a display, so that no display holds up a run.

Events only note that something has changed. For all else the thread looks five times a second. It
paints as often at most, and once a second while nothing changes, as times go on. Nothing here holds
a lock, since a signal handler may come in the midst of any line.
"""

from __future__ import annotations

import os
import time
import weakref
from collections import deque
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.copies import copied
from aiocheckpoint._concurrency.workers import Worker
from aiocheckpoint._display.live.guarding import log_failed, log_hanging

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._concurrency.workers import Life

__all__ = ["PAINT_SECONDS", "TICK_SECONDS", "Painter", "count_painters"]

PAINT_SECONDS = 0.2
"""The least time between two pictures."""
TICK_SECONDS = 1.0
"""The time between two pictures while nothing changes."""
_SHARE = 200
"""Painting takes at most one part in so many of the time. A notebook needs as much to send it."""
_MOST_SECONDS = 5.0
"""The longest time between two pictures."""
_LAST_SECONDS = 2.0
"""The call of a flow waits so long for the last picture, which takes some milliseconds.

A terminal may be stopped by Ctrl-S, and a publisher may hang.
"""

_NAME = "aiocheckpoint-display"
_living: weakref.WeakSet[Painter] = weakref.WeakSet()


class Painter:
    """Paints a display in a thread of its own, from the first event on.

    Args:
        paint: Paints the present state. What it raises is logged, and ends the display.
        flow: Name of the flow, for the log.
        late: Seconds after the first event before the first picture. A display that is closed
            before is never painted. None paints at once, and the last state always.
        marks: Gives another value where there is something new to paint. It is quick.

    Attributes:
        is_over: Whether the display has failed, or is closed.
    """

    def __init__(
        self,
        paint: Callable[[], object],
        flow: str,
        *,
        late: float | None = None,
        marks: Callable[[], object] = bool,
    ) -> None:
        self._paint, self._flow, self._late, self._marks = paint, flow, late, marks
        self._context = copy_context()  # The output of a notebook belongs to the cell of the call.
        self._queue: SimpleQueue[None] = SimpleQueue()
        self._life: dict[Life, Worker] = {}
        self._worker: Worker | None = None
        self._unstarted = deque((None,))
        self._has_changed = self._is_idle = self._is_closed = self._is_awaited = False
        self.is_over: bool = False
        _living.add(self)

    def wake(self) -> None:
        """Have it painted soon. In any thread."""
        self._has_changed = True
        if self._is_idle:
            self._queue.put(None)
        elif self._worker is None and not self.is_over:
            self._start()

    def close(self) -> None:
        """Paint the last state, and wait until that is done. Ctrl-C ends the wait for good."""
        self._is_closed = True
        worker = self._worker
        if worker is not None and not self._is_awaited:
            self._queue.put(None)
            self._is_awaited = True
            worker.join(_LAST_SECONDS)
            if worker.is_alive():
                log_hanging(self._flow)
        self.is_over = True

    def drop(self) -> None:
        """Be over without a last picture, as in a forked child, which has no such thread."""
        self.is_over = True
        self._worker, self._is_idle = None, False

    def _fail(self, error: Exception) -> None:
        self.is_over = True
        log_failed(self._flow, error)

    def _start(self) -> None:
        try:
            self._unstarted.pop()
        except IndexError:
            return  # Another thread is at it.
        worker = Worker(_NAME, self._queue, self._work, self._life, _ignore)
        self._worker = worker
        try:
            self._life[worker.life] = worker
            worker.start()
        except (RuntimeError, MemoryError) as error:
            self._fail(error)
        finally:
            worker.let_go()

    def _work(self, _: Worker) -> None:
        try:
            self._context.run(self._paint_all)
        except Exception as error:  # noqa: BLE001 - a display never breaks a run
            self._fail(error)
        finally:
            self.is_over = True

    def _paint_all(self) -> None:
        if self._late is not None:
            self._wait_until(time.monotonic() + self._late)
            if self._is_closed:
                return
        while not self.is_over:
            is_last = self._is_closed
            self._has_changed = False
            marks = self._marks()
            began, spent = time.monotonic(), time.thread_time()
            self._paint()
            if is_last:
                return
            pause = (time.thread_time() - spent) * _SHARE
            self._wait_until(began + min(max(pause, PAINT_SECONDS), _MOST_SECONDS))
            self._wait_for_change(marks, began + TICK_SECONDS)

    def _wait_until(self, at: float) -> None:
        """Wait until a time, or until the display is closed."""
        while not self._is_closed and (seconds := at - time.monotonic()) > 0:
            self._wait(seconds)

    def _wait_for_change(self, marks: object, until: float) -> None:
        """Wait for something new, for the end, or for the next tick."""
        self._is_idle = True
        # Behind `_is_idle`: an event that came before it has put nothing into the queue.
        while not (self._has_changed or self._is_closed or self._marks() != marks):
            seconds = until - time.monotonic()
            if seconds <= 0:
                break
            self._wait(min(seconds, PAINT_SECONDS))
        self._is_idle = False

    def _wait(self, seconds: float) -> None:
        with suppress(Empty):
            self._queue.get(timeout=seconds)


def count_painters() -> int:
    """Count the displays that are in progress in this process."""
    return sum(not one.is_over for one in copied(_living))


def _ignore(_: Worker) -> None:
    pass


def _drop_all() -> None:
    for painter in copied(_living):
        painter.drop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_all)
