"""Daemon threads for blocking functions, waited for at exit unless they were abandoned.

`concurrent.futures.ThreadPoolExecutor` breaks three promises. The interpreter joins its threads at
exit, so a hung step would keep a drained process. It takes no work after the end of the main
thread, though event loops in other threads may still store snapshots. Ctrl-C in its semaphore,
which is written in Python, leaves a thread blocked for ever, and the process cannot end. With
`SimpleQueue`, which is written in C, Ctrl-C comes before or after a `put`, never inside.

A single caller keeps one warm thread busy, and an executor takes turns among four. A durable step
of `arun` takes 1.10 times the floor of benchmarks/step_cost.py with these threads and 1.16 times
with an executor. Without fsync it takes 0.54 and 0.75 times its floor.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from aiocheckpoint._concurrency.work_items import WorkItem

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DaemonThreads"]

_Result = TypeVar("_Result")
_all: weakref.WeakSet[DaemonThreads] = weakref.WeakSet()


class DaemonThreads(Executor):
    """Threads that take calls from one queue, started as they are needed.

    Args:
        name: Name of the threads.
        count: The most threads.
        idle_seconds: Seconds after which an idle thread ends. By default it stays, and a hop to it
            takes 3 µs less.

    Attributes:
        abandoned: Whether `abandon` was called.
    """

    # `_end_all` sets it for the class, so that threads made later take no calls either.
    _shut_down = False

    def __init__(self, name: str, count: int, *, idle_seconds: float | None = None) -> None:
        self._name = name
        self._count = count
        self._idle_seconds = idle_seconds
        self.abandoned: bool = False
        self.reset_after_fork()
        _all.add(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, {self._count})"

    def reset_after_fork(self) -> None:
        """Forget all threads and calls. A forked child has none of the threads."""
        # Reentrant, because a garbage collection in `put` may finalize an object that calls it.
        self._lock = threading.RLock()
        self._queue: SimpleQueue[WorkItem[Any] | None] = SimpleQueue()
        self._unfinished: set[WorkItem[Any]] = set()
        self._threads: set[threading.Thread] = set()

    def put(self, item: WorkItem[Any], /) -> None:
        """Let a thread run an item, now or when one is free.

        Raises:
            RuntimeError: No thread can be started, or the interpreter is at its end. The caller
                drops the item.
        """
        if self._shut_down:  # At the end of the interpreter, a new thread would never run.
            raise RuntimeError("no thread can be started at interpreter shutdown")
        with self._lock:
            self._unfinished.add(item)
            self._queue.put(item)
            if self.abandoned:
                item.abandon()
            if len(self._threads) < min(len(self._unfinished), self._count):
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
            RuntimeError: As in `put`. The function will not be called.
        """
        future: Future[_Result] = Future()
        item = WorkItem(_fulfil, (future, function, args, kwargs), None)
        try:
            self.put(item)
        except BaseException:
            item.drop()
            raise
        return future

    def abandon(self) -> None:
        """Stop waiting for calls, at a cancellation and at exit."""
        self.abandoned = True
        for item in list(self._unfinished):
            item.abandon()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """End the threads when the queue is empty, as `Executor.shutdown` does."""
        self._shut_down = True
        with self._lock:
            threads = list(self._threads)
            for _ in threads:
                self._queue.put(None)
        for thread in threads:
            if wait and not self.abandoned:
                thread.join()

    def _start(self) -> None:
        args = (self._queue, self._unfinished, self._threads)
        # A daemon, so that the interpreter does not join it. `_end_all` does.
        thread = threading.Thread(target=self._work, args=args, name=self._name, daemon=True)
        thread.start()
        self._threads.add(thread)

    def _work(
        self,
        queue: SimpleQueue[WorkItem[Any] | None],
        unfinished: set[WorkItem[Any]],
        threads: set[threading.Thread],
    ) -> None:
        thread = threading.current_thread()
        threads.add(thread)  # Ctrl-C may have struck in `_start` after the start.
        while queue is self._queue:  # It is another one in a forked child.
            try:
                item = queue.get(timeout=self._idle_seconds)
            except Empty:
                with self._lock:
                    if queue.empty():
                        threads.discard(thread)
                        return
                continue
            if item is None:
                break
            item.call()
            # Before the loop wakes, so that its next call finds this thread idle, with warm caches.
            unfinished.discard(item)
            item.deliver()
            del item
        threads.discard(thread)


def _fulfil(
    future: Future[Any], function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function(*args, **kwargs))
    except BaseException as error:  # noqa: BLE001 - raised again where the future is awaited
        future.set_exception(error)
        del future  # It holds the exception, whose traceback holds this frame.


@atexit.register
def _end_all() -> None:
    DaemonThreads._shut_down = True  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    for threads in list(_all):
        threads.shutdown()


def _reset_all_after_fork() -> None:
    for threads in list(_all):
        threads.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all_after_fork)
