"""One thread that carries out the requests of many callers together: group commit."""

from __future__ import annotations

import os
import threading
import time
import weakref
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from aiocheckpoint._concurrency.pending_results import PendingResult, deliver
from aiocheckpoint._concurrency.workers import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._concurrency.workers import Life

__all__ = ["Processor", "Writer", "is_writer", "join_stopped"]

_all: weakref.WeakSet[Writer] = weakref.WeakSet()
_NAME = "aiocheckpoint-writer"
_MOST_REQUESTS = 512
"""The most requests in one `Processor.apply`, so that their callers wake during the next."""
_PAUSE_SECONDS = 0.01

_stopped: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


class Processor(Protocol):
    """The work of a writer thread. Called by that thread alone."""

    def apply(self, group: Sequence[PendingResult[Any]]) -> None:
        """Carry out requests, and set the result or the error of each."""

    def fail(self, group: Sequence[PendingResult[Any]], error: BaseException) -> None:
        """Set the error of requests that the thread could not carry out."""

    def idle_timeout(self) -> float | None:
        """Seconds without a request after which `on_idle` is called, None for never."""

    def on_idle(self) -> None:
        """Do the work that is due without a request."""

    def close(self) -> None:
        """Release everything: no more requests will come."""

    def reset_after_fork(self) -> None:
        """Start over in a forked child, which has no writer thread."""


class Writer:
    """The thread, started by the first request, and anew in a forked child or after a failure.

    Args:
        processor: Carries out the requests.
    """

    def __init__(self, processor: Processor) -> None:
        self._processor = processor
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        # Reentrant, because a signal or a garbage collection under the lock may call `put`.
        self._lock = threading.RLock()
        self._channel = _Channel(self._lock, None)

    def put(self, pending: PendingResult[Any]) -> None:
        """Queue a request.

        Raises:
            RuntimeError: No thread can be started. The request will not be done.
        """
        with self._lock:
            self._replace_ended()
            if self._channel.served_by() is None:
                self._channel.start(self._processor)
            self._channel.queue.put(pending)

    def stop(self, *, wait: bool) -> None:
        """Let the thread close and end, after the requests queued so far."""
        with self._lock:
            if self._replace_ended():
                with suppress(RuntimeError):  # At the end of the interpreter.
                    self._channel.start(self._processor)
            channel = self._channel
            thread = channel.served_by()
            if thread is None:
                return
            _stopped.add(thread)
            channel.queue.put(None)
            self._channel = _Channel(self._lock, thread)
        if wait and thread is not threading.current_thread():
            thread.join()

    def _replace_ended(self) -> bool:
        """Make a new channel if the thread of this one has failed. Return whether it has."""
        ended = self._channel.ended
        if ended:
            self._channel = _Channel(self._lock, self._channel.served_by())
        return ended

    def reset_after_fork(self) -> None:
        """Start over in a forked child."""
        self._reset()
        self._processor.reset_after_fork()


class _Channel:
    """The queue of one writer thread.

    It has no reference to the writer. An unused writer is collected, and its finalizer stops the
    thread.

    Args:
        lock: The lock of the writer.
        before: The thread before, whose end the new one awaits, as both use one processor.

    Attributes:
        queue: The requests. None ends the thread.
        ended: Whether the thread has failed, and takes no more requests.
    """

    def __init__(self, lock: threading.RLock, before: Worker | None) -> None:
        self.queue: SimpleQueue[PendingResult[Any] | None] = SimpleQueue()
        self.ended: bool = False
        self._lock = lock
        self._before = before
        self._started: Worker | None = None
        self._living: dict[Life, Worker] = {}
        # setdefault() is atomic. A signal in `start` may start a second thread.
        self._claim: dict[None, Worker] = {}
        self._group: list[PendingResult[Any] | None] = []

    def served_by(self) -> Worker | None:
        """The thread that serves the queue, or that will, or None."""
        return self._claim.get(None, self._started)

    def start(self, processor: Processor) -> None:
        """Start a thread.

        Raises:
            RuntimeError: No thread can be started.
        """
        # A daemon thread does not hold up the interpreter's end. A caller that waits does.
        worker = Worker(
            _NAME,
            self.queue,
            partial(self._work, processor),
            self._living,
            partial(self._on_end, processor),
        )
        try:
            self._living[worker.life] = worker
            worker.start()
        finally:
            worker.let_go()
        self._started = worker

    def _work(self, processor: Processor, worker: Worker) -> None:
        if self._claim.setdefault(None, worker) is not worker:
            return
        try:
            before, self._before = self._before, None
            if before is not None:
                before.join()
                del before
            while self._serve(processor):
                pass
        except BaseException as error:  # noqa: BLE001 - no caller may wait for a dead thread
            self._end(processor, error)

    def _on_end(self, processor: Processor, worker: Worker) -> None:
        """Fail the requests of a thread that memory did not even suffice to end in order."""
        if not worker.orderly and not self.ended:
            self._end(processor, worker.error or MemoryError())

    def _serve(self, processor: Processor) -> bool:
        """Carry out the requests queued so far. Give False at the end."""
        group = self._group
        try:
            group.append(self.queue.get(timeout=processor.idle_timeout()))
        except Empty:
            processor.on_idle()
            return True
        while len(group) < _MOST_REQUESTS and not self.queue.empty():
            group.append(self.queue.get())
        wanted = [pending for pending in group if pending is not None]
        if wanted:
            processor.apply(wanted)
            deliver(wanted)
        going_on = len(wanted) == len(group)
        group.clear()
        if not going_on:
            processor.close()
        return going_on

    def _end(self, processor: Processor, error: BaseException) -> None:
        """Fail all requests of this channel. The next request starts a new thread."""
        with self._lock:
            self.ended = True
        while True:
            # The memory may come back that is missing now, and the callers wait.
            with suppress(MemoryError):
                self._fail_all(processor, error)
                return
            time.sleep(_PAUSE_SECONDS)

    def _fail_all(self, processor: Processor, error: BaseException) -> None:
        while not self.queue.empty():
            self._group.append(self.queue.get())
        wanted = [pending for pending in self._group if pending is not None and not pending.ended]
        processor.fail(wanted, error)
        deliver(wanted)
        if None in self._group:
            processor.close()
        self._group.clear()


def is_writer() -> bool:
    """Whether this is a writer thread, which must not wait for a writer."""
    return threading.current_thread().name == _NAME


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
