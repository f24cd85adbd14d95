"""Daemon threads whose end is noticed, whatever ends them.

Where memory is short, a thread that the system has created may end before its first line of Python,
and `threading.Thread.start` waits for its begin for ever. Any later line may end it as well.

The C code of a thread holds the function that the thread was started with until the thread ends.
Weak references to that function notice the end, and callbacks in C need no memory for that.
"""

from __future__ import annotations

import sys
import threading
import weakref
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue

    from aiocheckpoint._concurrency.work_items import WorkItem

__all__ = ["Life", "Worker", "here"]

Life = weakref.ref["partial[None]"]


class _Here(threading.local):
    """The facts of the current thread.

    Attributes:
        queue: The queue that it serves, or None.
    """

    queue: object = None  # of the class: a missing attribute would cost an exception


here = _Here()


class Worker(threading.Thread):
    """A daemon thread that serves a queue.

    Args:
        name: Its name.
        queue: The queue.
        work: Its work.
        living: The living threads of the queue. The end of this one removes its `life`.
        on_end: Called at its end, if it has begun. In the thread, or in the one that has started it
            where that one goes on only behind the end.

    Attributes:
        life: A weak reference that is dead when the thread has ended.
        item: The item that an exception interrupted, or None.
        error: The exception that ended the thread, or None.
        orderly: Whether the work came to its end.
    """

    def __init__(
        self,
        name: str,
        queue: SimpleQueue[Any],
        work: Callable[[Worker], None],
        living: dict[Life, Worker],
        on_end: Callable[[Worker], None],
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.item: WorkItem[Any] | None = None
        self.error: BaseException | None = None
        self.orderly: bool = False
        self._work = work
        self._on_end = on_end
        self._begun = threading.Lock()
        self._begun.acquire()
        # `Thread.start` starts the thread with `_bootstrap`, and waits for `_started`. Both are
        # private. Read and tried in Python 3.11.7, 3.12.1 and 3.13.0.
        bootstrap = partial(_enter, queue, self._bootstrap)  # type: ignore[has-type]
        self._bootstrap = bootstrap
        self._started = _Start(self)
        # The callbacks are called in the reverse order. `__exit__` releases the lock, and takes the
        # argument of a callback.
        self._end: Life = weakref.ref(bootstrap, self._notice_end)
        self._watch: Life | None = weakref.ref(bootstrap, cast("Any", self._begun.__exit__))
        self.life: Life = weakref.ref(bootstrap, living.pop)

    def start(self) -> None:
        """Start the thread, and wait until it has begun.

        Raises:
            RuntimeError: The system refuses it, or it ended before it had begun, or the interpreter
                is at its end. Python 3.11 starts threads then as well, which never run.
        """
        if sys.is_finalizing():
            raise RuntimeError("no thread can be started at interpreter shutdown")
        try:
            super().start()
        finally:
            self.let_go()
        if not self._started.is_set():
            raise RuntimeError("the new thread ended before it had begun")

    def run(self) -> None:
        """Do the work."""
        try:
            self._work(self)
            self.orderly = True
        except BaseException as error:
            self.error = error
            raise

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the thread, which may be about to begin."""
        self.await_begin()
        with suppress(RuntimeError):  # It has never begun.
            super().join(timeout)

    def let_go(self) -> None:
        """Leave `life` to the running thread. It is dead at once where there is none."""
        self.__dict__.pop("_bootstrap", None)

    def retire(self) -> None:
        """Forget `life`, which is no longer among the living threads."""
        del self.life

    def await_begin(self) -> None:
        """Wait until the thread has begun, or ended without."""
        with self._begun:
            pass

    def note_begin(self) -> None:
        """End the wait for the begin."""
        self._begun.release()
        self._watch = None  # Its end would release the lock again.

    def _notice_end(self, _: Life) -> None:
        if self._started.is_set():
            self._on_end(self)


class _Start(threading.Event):
    """Set when a thread has begun. The wait for it ends with the thread as well."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def set(self) -> None:
        super().set()
        self._worker.note_begin()

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - as `Thread.start` has it
        self._worker.let_go()
        self._worker.await_begin()
        return self.is_set()


def _enter(queue: SimpleQueue[Any], bootstrap: Callable[[], None]) -> None:
    here.queue = queue
    bootstrap()
