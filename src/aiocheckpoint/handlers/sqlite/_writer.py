"""One thread that does what many ask for, together with whatever else is waiting by then."""

from __future__ import annotations

import os
import threading
import weakref
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from aiocheckpoint._concurrency.pending_results import PendingResult, deliver

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Worker", "Writer", "await_ends", "is_writer"]

_all: weakref.WeakSet[Writer] = weakref.WeakSet()
_NAME = "aiocheckpoint-writer"
_AT_ONCE = 512
"""The most jobs done together: the waiting of these is over while those after them are done."""

_ending: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


class Worker(Protocol):
    """What the thread does; only that thread calls it."""

    def apply(self, jobs: Sequence[PendingResult[Any]]) -> None:
        """Do jobs, and set the result or the error of each."""

    def pause(self) -> float | None:
        """Tell after how many seconds without a job there is something to do, None for never."""

    def idle(self) -> None:
        """Do what there is to do after that time."""

    def close(self) -> None:
        """Tidy up: nothing more will be asked for."""

    def forget(self) -> None:
        """Start over in a forked child, in which the thread does not live."""


class Writer:
    """The thread, started when first needed, and anew in a forked child.

    Args:
        worker: What it does.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._queue: SimpleQueue[PendingResult[Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._before: threading.Thread | None = None
        # A garbage collection in the middle may ask for more.
        self._lock = threading.RLock()

    def put(self, job: PendingResult[Any]) -> None:
        """Have a job done.

        Raises:
            RuntimeError: No thread can be started; the job will not be done.
        """
        with self._lock:
            if self._thread is None:
                self._start()
            self._queue.put(job)

    def stop(self, *, wait: bool) -> None:
        """Let the thread tidy up and end, when it has done what was asked for by now."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            _ending.add(thread)
            self._queue.put(None)
            self._queue, self._before = SimpleQueue(), thread
        if wait:
            thread.join()

    def forget(self) -> None:
        """Start over in a forked child."""
        self._begin()
        self._worker.forget()

    def _start(self) -> None:
        args = (self._queue, self._worker, self._before)
        # A daemon does not hold up the interpreter's end; who waits for a job does.
        thread = threading.Thread(target=_work, args=args, name=_NAME, daemon=True)
        thread.start()
        self._thread, self._before = thread, None


def is_writer() -> bool:
    """Whether this is the thread of a writer, which must not wait for one."""
    return threading.current_thread().name == _NAME


def _work(
    queue: SimpleQueue[PendingResult[Any] | None], worker: Worker, before: threading.Thread | None
) -> None:
    # No reference to the writer, so that one that nobody uses any more can be stopped.
    if before is not None:
        before.join()
        del before
    while True:
        try:
            jobs = [queue.get(timeout=worker.pause())]
        except Empty:
            worker.idle()
            continue
        while len(jobs) < _AT_ONCE and not queue.empty():
            jobs.append(queue.get())
        wanted = [job for job in jobs if job is not None]
        if wanted:
            worker.apply(wanted)
            deliver(wanted)
        if len(wanted) < len(jobs):
            worker.close()
            return
        del jobs, wanted


def await_ends() -> None:
    """Wait until every thread that was told to has ended."""
    for thread in list(_ending):
        thread.join()


def _forget_all() -> None:
    _ending.clear()
    for writer in list(_all):
        writer.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
