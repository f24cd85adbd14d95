"""One daemon thread of a process, which begins when there is work, and ends when there is none.

Nothing here holds a lock, as a signal handler may come in the midst of any line.
"""

from __future__ import annotations

from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.workers import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._concurrency.workers import Life

__all__ = ["LoneThread"]


class LoneThread:
    """A thread that takes turns as long as there is work.

    Args:
        name: Its name.
        turn: One turn of its work. It waits for its time itself.
        is_wanted: Whether there is work.

    Attributes:
        living: The thread, if there is one.
    """

    def __init__(
        self, name: str, turn: Callable[[], object], is_wanted: Callable[[], object]
    ) -> None:
        self.living: dict[Life, Worker] = {}
        self._name, self._turn, self._is_wanted = name, turn, is_wanted
        self._queue: SimpleQueue[None] = SimpleQueue()  # It serves none.

    def start(self) -> None:
        """Start the thread. Where none can be started, there is none."""
        with suppress(RuntimeError, MemoryError):
            worker = Worker(self._name, self._queue, self._work, self.living, _ignore)
            try:
                self.living[worker.life] = worker
                if self._is_first(worker):
                    worker.start()
            finally:
                worker.let_go()

    def _work(self, worker: Worker) -> None:
        while self._is_wanted() or not self._may_end(worker):
            self._turn()

    def _may_end(self, worker: Worker) -> bool:
        """Whether the thread is needed no more. Work may have come just now, and found it."""
        life = worker.life
        self.living.pop(life, None)
        if self._is_wanted():
            self.living[life] = worker
            if self._is_first(worker):
                return False
            self.living.pop(life, None)
        worker.retire()
        return True

    def _is_first(self, worker: Worker) -> bool:
        """Whether it is the one that works: a signal in the start of one may start another."""
        return next(iter(list(self.living)), None) is worker.life


def _ignore(_: Worker) -> None:
    pass
