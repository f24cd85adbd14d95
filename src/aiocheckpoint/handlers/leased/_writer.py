"""One thread that carries out the requests of many callers together: group commit.

Nothing here holds a lock. A signal handler or a finalizer may interrupt any line, ask for more, and
wait for it. So there is one queue for ever, and each step is one atomic call of a dict or queue.
"""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from aiocheckpoint._concurrency.pending_results import PendingResult, deliver
from aiocheckpoint._concurrency.workers import Worker
from aiocheckpoint.handlers.leased._writer_threads import (
    Close,
    RequestWriter,
    is_writer,
    mark_writer,
    pending_closes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._concurrency.workers import Life

__all__ = ["MOST_REQUESTS", "Again", "Processor", "Writer"]

_NAME = "aiocheckpoint-writer"
MOST_REQUESTS = 512
"""The most requests in one `Processor.apply`, so that their callers wake during the next. There may
be more after an outage."""
_PAUSE_SECONDS, _MOST_TRIES = 0.01, 100


class Again(NamedTuple):
    """Requests that could not be carried out, and are to be applied again.

    Attributes:
        seconds: The pause until then. Further requests join them meanwhile.
        requests: The requests, in their order. All others of the group have ended.
        at_once: Whether a further request ends the pause: it need not wait for them.
    """

    seconds: float
    requests: list[PendingResult[Any]]
    at_once: bool = False


class Processor(Protocol):
    """The work of a writer thread. Called by that thread alone."""

    @property
    def is_in_use(self) -> bool:
        """Whether a caller relies on what `close` gives up."""
        ...

    def apply(self, group: Sequence[PendingResult[Any]]) -> Again | None:
        """Carry out requests, and set the result or the error of each.

        Returns:
            The requests that have neither, because the store is out of reach. None for none.
        """

    def fail(self, group: Sequence[PendingResult[Any]], error: BaseException) -> None:
        """Set the error of requests that the thread could not carry out."""

    def idle_timeout(self) -> float | None:
        """Seconds without a request after which `on_idle` is called, None for never."""

    def on_idle(self) -> None:
        """Do the work that is due without a request."""

    def close(self) -> None:
        """Release everything: no more requests will come."""

    def disconnect(self) -> None:
        """Leave the store until the next request. The process is about to fork."""

    def reset_after_fork(self) -> None:
        """Start over in a forked child, which has no writer thread."""


class Writer(RequestWriter["_GroupQueue"]):
    """A `RequestWriter` that carries out requests together.

    Args:
        processor: Carries out the requests.
    """

    def __init__(self, processor: Processor) -> None:
        super().__init__(processor, partial(_GroupQueue, processor))

    def pause(self, seconds: float) -> SimpleQueue[None] | None:
        """Let the thread disconnect, and do nothing until the queue given back gets an item.

        Args:
            seconds: The most to wait for it.

        Returns:
            The queue. None if there is no thread, or the time was too short.
        """
        if not self._requests.is_used or is_writer():
            return None
        resume: SimpleQueue[None] = SimpleQueue()
        pending: PendingResult[None] = PendingResult(_Pause(resume), None)
        with suppress(RuntimeError):
            self._requests.put(pending)
            if pending.wait_at_most(seconds):
                return resume
            resume.put(None)
        return None


class _Pause(NamedTuple):
    """Leave the store until a fork is over."""

    resume: SimpleQueue[None]


_CONTROLS = frozenset[type]({Close, _Pause})


class _GroupQueue:
    """The queue and the thread. See `RequestQueue`.

    Args:
        processor: Carries out the requests.

    Attributes:
        is_used: Whether there is something to close.
    """

    def __init__(self, processor: Processor) -> None:
        self.is_used: bool = False
        self._processor = processor
        self._queue: SimpleQueue[PendingResult[Any]] = SimpleQueue()
        # The threads that live, and the one of them that works: a signal in the start of a thread
        # may start a second one.
        self._living: dict[Worker, None] = {}
        self._working: dict[None, Worker] = {}
        self._last_end = object()
        self._group: list[PendingResult[Any]] = []
        # A request is here before it is in the group, which may need memory to grow.
        self._taken: PendingResult[Any] | None = None

    def put(self, pending: PendingResult[Any]) -> None:
        """Queue a request, as `RequestWriter.put` does."""
        self.is_used = True
        last_end = self._last_end
        if not self._living:
            self._start()
        self._queue.put(pending)
        if not self._living and self._last_end is not last_end:  # The thread has ended meanwhile.
            try:
                self._start()
            except RuntimeError as error:
                self._fail_all(error)

    def is_here(self) -> bool:
        """Whether this is the thread."""
        return self._working.get(None) is threading.current_thread()

    def _start(self) -> None:
        lives: dict[Life, Worker] = {}
        worker = Worker(_NAME, self._queue, self._run, lives, self._on_end)
        lives[worker.life] = worker
        try:
            worker.start()
        finally:
            worker.let_go()
        # The next request would start another thread. A signal handler in here may do so.
        while not self._living and worker.is_alive():
            time.sleep(0)

    def _run(self, worker: Worker) -> None:
        mark_writer()
        while True:
            self._living[worker] = None
            if self._working.setdefault(None, worker) is worker:
                try:
                    self._serve()
                except BaseException as error:  # noqa: BLE001 - no caller waits for ever
                    self._fail_patiently(error)
                del self._working[None]
            # First out of the living, then a look into the queue. `put` does the reverse.
            self._living.pop(worker, None)
            self._last_end = object()
            if self._working or self._queue.empty():
                return

    def _serve(self) -> None:
        """Carry out requests until one to close is the last of them."""
        closed = False
        while self._group or not closed:
            self._take()
            closed = self._carry_out()

    def _carry_out(self) -> bool:
        """Carry out the requests taken, up to one to close, and return whether there was one.

        No reference to a request outlives the call: its error holds the frames of its caller.
        """
        group = self._group
        count = len(group)
        for index, pending in enumerate(group):
            if type(pending.request) in _CONTROLS:
                count = index
                break
        wanted, last = group[:count], group[count : count + 1]
        if wanted:
            self.is_used = True
            again = self._processor.apply(wanted)
            if again is not None:
                self._put_off(again, wanted)
                return False
            deliver(wanted)
        request = last[0].request if last else None
        closes = isinstance(request, Close) and not (
            request.if_unused and self._processor.is_in_use
        )
        if closes:
            self.is_used = False
            self._processor.close()
        if isinstance(request, Close):
            deliver(last)
            pending_closes.difference_update(last)
        elif isinstance(request, _Pause):
            self._processor.disconnect()
            deliver(last)
            request.resume.get()
        del group[: count + 1]
        if not group:
            self._taken = None
        return closes

    def _put_off(self, again: Again, wanted: list[PendingResult[Any]]) -> None:
        """Keep requests at the front of the group, and wait until they are to be applied again."""
        left = set(again.requests)
        deliver([pending for pending in wanted if pending not in left])
        self._group[: len(wanted)] = again.requests
        deadline = time.monotonic() + again.seconds
        while (seconds := deadline - time.monotonic()) > 0:
            if any(type(pending.request) in _CONTROLS for pending in self._group[-1:]):
                time.sleep(seconds)  # No request overtakes it.
                return
            try:
                self._taken = self._queue.get(timeout=seconds)
            except Empty:
                return
            self._group.append(self._taken)
            if again.at_once:
                return

    def _take(self) -> None:
        """Take the requests queued so far, or wait for one."""
        while not self._group:
            try:
                self._taken = self._queue.get(timeout=self._processor.idle_timeout())
            except Empty:
                self._processor.on_idle()
            else:
                self._group.append(self._taken)
        while len(self._group) < MOST_REQUESTS and not self._queue.empty():
            self._taken = self._queue.get()
            self._group.append(self._taken)

    def _take_all(self) -> None:
        """Take all requests, and the one that a lack of memory kept from the group."""
        if self._taken is not None and self._taken not in self._group:
            self._group.append(self._taken)
        while not self._queue.empty():
            self._taken = self._queue.get()
            self._group.append(self._taken)

    def _on_end(self, worker: Worker) -> None:
        """Fail all requests if an error has ended the thread. Called in the thread."""
        if not worker.orderly and self._working.get(None) is worker:
            error, worker.error = worker.error or MemoryError(), None
            self._working.pop(None, None)
            self._living.pop(worker, None)
            self._last_end = object()
            self._fail_patiently(error)

    def _fail_patiently(self, error: BaseException) -> None:
        """Fail all requests, also where memory is missing for the moment: their callers wait."""
        for number in itertools.count():
            with suppress(MemoryError):
                if number < _MOST_TRIES:
                    self._fail_all(error)
                else:  # The callers may be what takes the memory.
                    self._fail_barely(error)
                return
            time.sleep(_PAUSE_SECONDS)

    def _fail_barely(self, error: BaseException) -> None:
        """Fail all requests with the bare error, which takes the least memory."""
        self._take_all()
        while self._group:
            pending = self._group[-1]
            if not pending.ended:
                pending.error = error
                deliver(self._group[-1:])
            self._group.pop()

    def _fail_all(self, error: BaseException) -> None:
        self._take_all()
        waiting = [pending for pending in self._group if not pending.ended]
        self._processor.fail(waiting, error)
        deliver(waiting)
        pending_closes.difference_update(waiting)
        self._group.clear()
        self._taken = None
