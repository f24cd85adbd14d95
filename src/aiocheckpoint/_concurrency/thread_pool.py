"""A `ThreadPoolExecutor` for snapshots that survives Ctrl-C, forks and the end of the main thread.

Users' steps have threads of their own, see `step_threads`: a step may hang, and the interpreter
joins the threads of an executor at exit.
"""

from __future__ import annotations

import os
import threading
import weakref
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from aiocheckpoint._concurrency.work_items import WorkItem

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ThreadPool"]

_Result = TypeVar("_Result")

_all: weakref.WeakSet[ThreadPool] = weakref.WeakSet()


class _Executors:
    """The executors of a pool: one thread for a single caller, the others for more.

    An executor of four threads starts all of them for a single caller, because its thread is not
    idle yet when the loop asks again. It then wakes the thread that was idle longest, whose caches
    are cold. A durable step then took 1.19 times the floor of benchmarks/step_cost.py, and 1.14
    times with the first thread apart.
    """

    def __init__(self, name: str, count: int) -> None:
        self._first = ThreadPoolExecutor(1, f"{name}-first")
        self._others = ThreadPoolExecutor(count - 1, name) if count > 1 else self._first
        self._first_is_free = True

    def put(self, item: WorkItem[Any]) -> None:
        if not self._first_is_free:
            self._others.submit(item.run)
            return
        self._first_is_free = False
        try:
            self._first.submit(self._run_first, item)
        except RuntimeError:
            self._first_is_free = True
            raise

    def _run_first(self, item: WorkItem[Any]) -> None:
        item.carry_out()
        self._first_is_free = True  # Before the loop is woken, which may ask again at once.
        item.deliver()

    def shutdown(self, *, wait: bool, cancel_futures: bool = False) -> None:
        """Let the threads end when their queues are empty."""
        for executor in (self._first, self._others):
            executor.shutdown(wait, cancel_futures=cancel_futures)


class ThreadPool(Executor):
    """Threads for the library's own blocking work.

    Args:
        name: Prefix of the threads' names.
        count: The number of threads.
    """

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._count = count
        self.restart()
        _all.add(self)

    def restart(self) -> None:
        """Use new executors. A forked child has none of the threads of the old ones."""
        self._executors = _Executors(self._name, self._count)

    def put(self, item: WorkItem[Any], /) -> None:
        """Let a thread run an item.

        After the end of the main thread no executor takes any work, although event loops in other
        threads may still be running. The item then runs in the calling thread.

        Raises:
            RuntimeError: No thread can be started. The caller drops the item.
        """
        executors = self._executors
        try:
            executors.put(item)
        except RuntimeError:
            if threading.main_thread().is_alive():
                raise
            item.run()
        except BaseException:
            # Ctrl-C may have struck after the start of a thread and before its registration. The
            # interpreter would wait for this thread at exit, unless its executor is shut down.
            self.restart()
            executors.shutdown(wait=False)
            raise

    def submit(
        self,
        function: Callable[..., _Result],
        /,
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> Future[_Result]:
        """Let a thread call a function, as `concurrent.futures.Executor.submit` does.

        Raises:
            RuntimeError: No thread can be started. The function will not be called.
        """
        future: Future[_Result] = Future()
        item = WorkItem(_fulfil, (future, function, args, kwargs), None)
        try:
            self.put(item)
        except BaseException:
            item.drop()
            raise
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Let the threads end, as `concurrent.futures.Executor.shutdown` does."""
        self._executors.shutdown(wait=wait, cancel_futures=cancel_futures)


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


def _restart_all() -> None:
    for pool in list(_all):
        pool.restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all)
