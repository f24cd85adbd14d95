"""The thread of a database may be stopped and asked at once: nothing is done twice or never."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint.handlers.sqlite._writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from queue import SimpleQueue

PATIENCE = 60.0
A_WHILE = 0.2


class Clerk:
    """Does jobs, the first when it may, and notes what it does."""

    def __init__(self) -> None:
        """Begin with nothing done."""
        self.done = list[object]()
        self.may = threading.Event()

    def apply(self, jobs: Sequence[PendingResult[Any]]) -> None:
        """Do each when it may."""
        self.may.wait(PATIENCE)
        self.done += [job.work for job in jobs]

    def pause(self) -> float | None:
        """Have nothing to do in between."""
        return None

    def idle(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Note it."""
        self.done.append("closed")

    def forget(self) -> None:
        """Do nothing."""


class Overtaken:
    """A writer's queue whose writer is stopped, if it lets that happen, as a job is put in."""

    def __init__(self, writer: Writer, queue: SimpleQueue[PendingResult[Any] | None]) -> None:
        """Stand before the queue."""
        self._writer = writer
        self._queue = queue

    def put(self, job: PendingResult[Any] | None) -> None:
        """Let another thread stop the writer before a job is there."""
        if job is not None:
            stopper = threading.Thread(target=lambda: self._writer.stop(wait=True))
            stopper.start()
            stopper.join(A_WHILE)
        self._queue.put(job)


def wait_for(job: PendingResult[Any]) -> bool:
    """Say whether a job ends."""
    waiter = threading.Thread(target=job.wait, daemon=True)
    waiter.start()
    waiter.join(PATIENCE / 6)
    return not waiter.is_alive()


def test_asked_while_it_is_stopped() -> None:
    """What is asked for in the moment of a stop is done, before it or after it."""
    clerk = Clerk()
    clerk.may.set()
    writer = Writer(clerk)
    first: PendingResult[Any] = PendingResult("first", None)
    writer.put(first)
    first.wait()
    queue: Any = Overtaken(writer, writer._queue)  # noqa: SLF001
    writer._queue = queue  # noqa: SLF001
    second: PendingResult[Any] = PendingResult("second", None)
    writer.put(second)
    assert wait_for(second)
    writer.stop(wait=True)
    assert [one for one in clerk.done if one != "closed"] == ["first", "second"]


def test_stopped_and_asked_again() -> None:
    """The next thread begins when the one before has tidied up, and never beside it."""
    clerk = Clerk()
    writer = Writer(clerk)
    jobs: list[PendingResult[Any]] = [PendingResult(work, None) for work in ("before", "after")]
    writer.put(jobs[0])
    writer.stop(wait=False)
    writer.put(jobs[1])
    jobs[1]._blocked.acquire(timeout=A_WHILE)  # noqa: SLF001
    assert clerk.done == []
    clerk.may.set()
    assert all(map(wait_for, jobs))
    writer.stop(wait=True)
    assert clerk.done == ["before", "closed", "after", "closed"]
