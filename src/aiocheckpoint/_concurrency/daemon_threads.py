"""Daemon threads for blocking functions, waited for at exit unless they were abandoned.

`concurrent.futures.ThreadPoolExecutor` breaks four promises. The interpreter joins its threads at
exit, so a hung step would keep a drained process. It takes no work after the end of the main
thread, though event loops in other threads may still store snapshots. Ctrl-C in its semaphore,
which is written in Python, leaves a thread blocked for ever, and the process cannot end. A thread
that ends early leaves its callers waiting.

Nothing here holds a lock. A signal handler or a finalizer may interrupt any line and call for
another thread, which would wait for that lock. `SimpleQueue` is written in C, so Ctrl-C comes
before or after a `put`, never inside.

A single caller keeps one warm thread busy, and an executor takes turns among four. A durable step
of `arun` takes 1.10 times the floor of benchmarks/step_cost.py with these threads and 1.16 times
with an executor. Without fsync it takes 0.54 and 0.75 times its floor.
"""

from __future__ import annotations

import atexit
import os
import time
import weakref
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from aiocheckpoint._concurrency.giving_up import StoreCall, stall_seconds
from aiocheckpoint._concurrency.work_items import SubmittedItem
from aiocheckpoint._concurrency.workers import Worker, here
from aiocheckpoint.errors import NoThreadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._concurrency.giving_up import Answers
    from aiocheckpoint._concurrency.work_items import WorkItem
    from aiocheckpoint._concurrency.workers import Life

__all__ = ["DaemonThreads"]

_Result = TypeVar("_Result")
_TRIES = 100
_PAUSE_SECONDS = 0.01
_REMEDY = "Run less at once, or raise the process's limits of memory and of threads, and run again."
_AT_THE_END = (
    "no thread can be started at interpreter shutdown. Let the main thread wait for all runs."
)
_all: set[weakref.ref[DaemonThreads]] = set()


class DaemonThreads(Executor):
    """Threads that take calls from one queue, started as they are needed.

    Where a thread ends by an exception of its own, its call and all waiting calls fail. The next
    call starts another thread.

    Args:
        name: Name of the threads.
        count: The most threads.
        idle_seconds: Seconds after which an idle thread ends. By default it stays, and a hop to it
            takes 3 µs less. An idle thread of which another one takes the item, just as its time
            runs out, ends only behind the next call: `SimpleQueue.get` of Python 3.11 then waits
            without a timeout.
        answers: Counts the answers of a store on another machine. Calls that end without one say
            nothing about it. None for a store whose calls all end by an answer.

    Attributes:
        abandoned: Whether `abandon` was called.
        calls_ended: Changes with each call that ends.
        stalled_at: The value of `progress` at which the threads were found to be stalled.
        answers: The same as given.
    """

    # `_end_all` sets it for the class, so that threads made later take no calls either.
    _shut_down = False

    def __init__(
        self,
        name: str,
        count: int,
        *,
        idle_seconds: float | None = None,
        answers: Answers | None = None,
    ) -> None:
        self._name = name
        self._count = count
        self._idle_seconds = idle_seconds
        self.abandoned: bool = False
        self.calls_ended: int = 0
        self.stalled_at: int = -1
        self.answers: Answers | None = answers
        self._hangs = False
        self.reset_after_fork()
        _all.add(weakref.ref(self, _all.discard))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, {self._count})"

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle the settings alone: a copy has threads of its own."""
        settings = partial(type(self), self._name, self._count, idle_seconds=self._idle_seconds)
        return settings, ()

    def reset_after_fork(self) -> None:
        """Forget all threads and calls. A forked child has none of the threads."""
        self._queue: SimpleQueue[WorkItem[Any] | None] = SimpleQueue()
        self._unfinished: set[WorkItem[Any]] = set()
        self._living: dict[Life, Worker] = {}

    @property
    def progress(self) -> int:
        """Changes as long as the store of the threads gets on."""
        return self.calls_ended if self.answers is None else self.answers.count

    def made_call(self, function: Callable[..., _Result]) -> Callable[..., _Result]:
        """Make a function of the store one that its caller can give up, where that is needed."""
        return function if self.answers is None else StoreCall(function)

    def put(self, item: WorkItem[Any], /) -> None:
        """Let a thread run an item, now or when one is free.

        In one of these threads the item runs at once. A garbage collection there may call a
        finalizer that waits for the item, and all other threads may do the same.

        Raises:
            NoThreadError: No thread can be started, or the interpreter is at its end. The caller
                drops the item.
        """
        queue, unfinished = self._queue, self._unfinished
        if here.queue is queue:
            item.call()
            item.deliver()
            return
        unfinished.add(item)
        queue.put(item)
        if self._shut_down and item.drop():
            unfinished.discard(item)
            raise NoThreadError(_AT_THE_END)
        if self.abandoned:
            item.abandon()
        if len(self._living) < min(len(unfinished), self._count):
            self._start()

    def submit(
        self,
        function: Callable[..., _Result],
        /,
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> Future[_Result]:
        """Let a thread call a function, as `concurrent.futures.Executor.submit` does.

        Raises:
            NoThreadError: As in `put`. The function will not be called.
        """
        item = SubmittedItem(function, args, kwargs)
        try:
            self.put(item)
        except BaseException:
            item.drop()
            raise
        return item.submitted

    def abandon(self) -> None:
        """Stop waiting for calls, at a cancellation and at exit."""
        self.abandoned = True
        for item in list(self._unfinished):
            item.abandon()

    @property
    def is_busy(self) -> bool:
        """Whether a call has not ended."""
        return bool(self._unfinished)

    def abandon_begun(self) -> None:
        """Stop waiting for the calls that threads have begun, and for the threads at exit.

        Calls that no thread has begun stay in the queue, and a cancellation withdraws them.
        """
        self._hangs = True
        for item in list(self._unfinished):
            if item.is_running:
                item.give_up()
                item.abandon()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """End the threads when the queue is empty, as `Executor.shutdown` does."""
        self._shut_down = True
        for item in list(self._unfinished):
            item.give_up(stall_seconds())
        self._queue.put(None)
        if not wait or here.queue is self._queue:
            return
        for worker in list(self._living.values()):
            if not (self.abandoned or self._hangs):
                worker.join()

    def _start(self) -> None:
        try:
            self._add_worker()
        except (RuntimeError, MemoryError) as error:
            reason = f"no thread can be started for a call. {_REMEDY}"
            if not self._living:
                self._fail([*self._unfinished], reason, error, None)
            raise NoThreadError(reason) from error

    def _add_worker(self) -> None:
        living = self._living
        worker = Worker(self._name, self._queue, self._work, living, self._end)
        try:
            # Of threads that are added at the same time, the first ones are within the count.
            living[worker.life] = worker
            if list(living).index(worker.life) < self._count:
                worker.start()
        finally:
            worker.let_go()

    def _work(self, worker: Worker) -> None:
        queue, unfinished = self._queue, self._unfinished
        item: WorkItem[Any] | None = None
        try:
            while queue is self._queue:  # It is another one in a forked child.
                try:
                    item = queue.get(timeout=self._idle_seconds)
                except Empty:
                    if self._may_end(worker):
                        return
                    continue
                if item is None:
                    queue.put(None)  # for the next thread
                    return
                item.call()
                self.calls_ended += 1
                # Before the loop wakes, so that its next call finds this thread idle, with warm
                # caches.
                unfinished.discard(item)
                item.deliver()
                item = None
        except BaseException:
            worker.item = item
            raise

    def _may_end(self, worker: Worker) -> bool:
        """Whether an idle thread is needed no more.

        The thread steps back before it looks into the queue, and `put` fills the queue before it
        counts the threads. So at least one sees the other.
        """
        living, life = self._living, worker.life
        living.pop(life, None)
        if not self._queue.empty():
            living[life] = worker
            if list(living).index(life) < self._count:
                return False
            living.pop(life, None)
        worker.retire()
        return True

    def _end(self, worker: Worker) -> None:
        """Fail all who wait if a thread has ended by an exception.

        Called at its end in that thread, or in the one that has started it and goes on later.
        """
        if worker.orderly:
            return
        failing: list[WorkItem[Any] | None] = []
        for _ in range(_TRIES):  # Memory may be wanting for a moment alone.
            with suppress(Exception):
                # From here on a call starts another thread. So none is put behind the last look.
                self._living.pop(worker.life, None)
                self.calls_ended += 1
                failing = failing or self._ended_with(worker)
                reason = f"the thread of a call has ended. {_REMEDY}"
                self._fail(failing, reason, worker.error, worker.ident)
                worker.item = worker.error = None  # The traceback holds the frames of the thread.
                return
            time.sleep(_PAUSE_SECONDS)

    def _ended_with(self, worker: Worker) -> list[WorkItem[Any] | None]:
        """The items of a thread that has ended: its own, and all that wait.

        The system may have given its ident to another thread by now, whose call goes on.
        """
        if any(other.ident == worker.ident for other in list(self._living.values())):
            return [worker.item]
        return [worker.item, *self._unfinished]

    def _fail(
        self,
        items: list[WorkItem[Any] | None],
        reason: str,
        cause: BaseException | None,
        ended: int | None,
    ) -> None:
        for item in items:
            error = NoThreadError(reason)
            error.__cause__ = cause
            if item is not None and item.fail(error, ended):
                self._unfinished.discard(item)


@atexit.register
def _end_all() -> None:
    DaemonThreads._shut_down = True  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    for reference in list(_all):
        if (threads := reference()) is not None:
            threads.shutdown()


def _reset_all_after_fork() -> None:
    for reference in list(_all):
        if (threads := reference()) is not None:
            threads.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all_after_fork)
