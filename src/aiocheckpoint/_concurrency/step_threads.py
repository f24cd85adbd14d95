"""Threads for users' sync functions, which may take long or hang."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.daemon_threads import DaemonThreads

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.sent_calls import ExecutorCall
    from aiocheckpoint._concurrency.work_items import WorkItem

__all__ = ["StepThreads"]

_IDLE_SECONDS = 5.0
"""Threads of flows that are gone end after this time, also while their loop runs on."""


class StepThreads:
    """The threads in which `arun` calls the sync steps, loaders and savers of a flow.

    Each event loop has threads of its own. So a sync step may run a loop and wait for sync steps
    there, even if all other threads do the same.

    The interpreter waits at exit for running and queued calls, unless `abandon` was called.

    Args:
        count: The most threads for one event loop.

    Attributes:
        count: The same.
        abandoned: Whether `abandon` was called.
    """

    def __init__(self, count: int = 40) -> None:
        self.count: int = count
        self.abandoned: bool = False
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, DaemonThreads] = (
            weakref.WeakKeyDictionary()
        )
        self._of_processes: DaemonThreads | None = None
        self._sent: weakref.WeakSet[ExecutorCall] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.count})"

    def put(self, item: WorkItem[Any], /) -> None:
        """Let a thread of the running loop run an item, now or when one is free.

        Raises:
            NoThreadError: No thread can be started, or the interpreter is at its end. The caller
                drops the item.
        """
        loop = asyncio.get_running_loop()
        threads = self._by_loop.get(loop) or self._add(loop)
        threads.put(item)

    def abandon(self) -> None:
        """Stop waiting for calls, at a cancellation and at exit.

        A drained flow calls it when its time is over. A hung step then keeps neither its cancelled
        run nor the process.
        """
        self.abandoned = True
        for reference in self._by_loop.keyrefs():
            loop = reference()
            if loop is not None and (threads := self._by_loop.get(loop)) is not None:
                threads.abandon()
        if self._of_processes is not None:
            self._of_processes.abandon()
        for item in list(self._sent):
            item.abandon()

    def of_processes(self, count: int) -> DaemonThreads:
        """Give the threads that wait for calls in processes, each for one.

        Args:
            count: The most of them.
        """
        if self._of_processes is None:
            name = "aiocheckpoint-process"
            self._of_processes = DaemonThreads(name, count, idle_seconds=_IDLE_SECONDS)
            self._of_processes.abandoned = self.abandoned
        return self._of_processes

    def note_sent(self, item: ExecutorCall) -> None:
        """Let `abandon` stop waiting for a call that an executor carries out."""
        self._sent.add(item)
        if self.abandoned:
            item.abandon()

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle the count alone: a copied flow has threads of its own."""
        return type(self), (self.count,)

    def _add(self, loop: asyncio.AbstractEventLoop) -> DaemonThreads:
        made = DaemonThreads("aiocheckpoint-step", self.count, idle_seconds=_IDLE_SECONDS)
        # Not under a lock: a finalizer in the midst of it may ask for the threads of this loop.
        threads = self._by_loop.setdefault(loop, made)
        if threads is made:
            # The threads end with their loop. `_end_all` ends them at exit.
            weakref.finalize(loop, threads.shutdown, wait=False).atexit = False
        # After they are listed: `abandon` sets its flag, then reads the list.
        threads.abandoned = threads.abandoned or self.abandoned
        return threads
