"""One thread that carries out the requests of many callers together: group commit."""

from __future__ import annotations

import os
import threading
import weakref
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from aiocheckpoint._concurrency.pending_results import PendingResult, deliver

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Processor", "Writer", "is_writer", "join_stopped"]

_all: weakref.WeakSet[Writer] = weakref.WeakSet()
_NAME = "aiocheckpoint-writer"
_MOST_REQUESTS = 512
"""The most requests in one `Processor.apply`, so that their callers wake during the next."""

_stopped: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


class Processor(Protocol):
    """The work of a writer thread. Called by that thread alone."""

    def apply(self, group: Sequence[PendingResult[Any]]) -> None:
        """Carry out requests, and set the result or the error of each."""

    def idle_timeout(self) -> float | None:
        """Seconds without a request after which `on_idle` is called, None for never."""

    def on_idle(self) -> None:
        """Do the work that is due without a request."""

    def close(self) -> None:
        """Release everything: no more requests will come."""

    def reset_after_fork(self) -> None:
        """Start over in a forked child, which has no writer thread."""


class Writer:
    """The thread, started by the first request, and anew in a forked child.

    Args:
        processor: Carries out the requests.
    """

    def __init__(self, processor: Processor) -> None:
        self._processor = processor
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._queue: SimpleQueue[PendingResult[Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._before: threading.Thread | None = None
        # Reentrant, because a garbage collection under the lock may release a lease.
        self._lock = threading.RLock()

    def put(self, pending: PendingResult[Any]) -> None:
        """Queue a request.

        Raises:
            RuntimeError: No thread can be started. The request will not be done.
        """
        with self._lock:
            if self._thread is None:
                self._start()
            self._queue.put(pending)

    def stop(self, *, wait: bool) -> None:
        """Let the thread close and end, after the requests queued so far."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            _stopped.add(thread)
            self._queue.put(None)
            self._queue, self._before = SimpleQueue(), thread
        if wait:
            thread.join()

    def reset_after_fork(self) -> None:
        """Start over in a forked child."""
        self._reset()
        self._processor.reset_after_fork()

    def _start(self) -> None:
        args = (self._queue, self._processor, self._before)
        # A daemon thread does not hold up the interpreter's end. A caller that waits does.
        thread = threading.Thread(target=_work, args=args, name=_NAME, daemon=True)
        thread.start()
        self._thread, self._before = thread, None


def is_writer() -> bool:
    """Whether this is a writer thread, which must not wait for a writer."""
    return threading.current_thread().name == _NAME


def _work(
    queue: SimpleQueue[PendingResult[Any] | None],
    processor: Processor,
    before: threading.Thread | None,
) -> None:
    # No reference to the writer, so that an unused one is collected, and its finalizer stops this.
    if before is not None:
        before.join()
        del before
    while True:
        try:
            group = [queue.get(timeout=processor.idle_timeout())]
        except Empty:
            processor.on_idle()
            continue
        while len(group) < _MOST_REQUESTS and not queue.empty():
            group.append(queue.get())
        wanted = [pending for pending in group if pending is not None]
        if wanted:
            processor.apply(wanted)
            deliver(wanted)
        if len(wanted) < len(group):
            processor.close()
            return
        del group, wanted


def join_stopped() -> None:
    """Wait for the end of every stopped thread."""
    for thread in list(_stopped):
        thread.join()


def _reset_all() -> None:
    _stopped.clear()
    for writer in list(_all):
        writer.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
