"""A writer thread stopped and given a job at the same time does each job exactly once."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint.handlers.leased import _writer_threads
from aiocheckpoint.handlers.leased._writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from queue import SimpleQueue

PATIENCE = 60.0
A_WHILE = 0.2


class RecordingBackend:
    """A backend that waits before its first job, and records each job."""

    is_in_use = False

    def __init__(self) -> None:
        """Start with no jobs recorded."""
        self.done = list[object]()
        self.may = threading.Event()

    def apply(self, group: Sequence[PendingResult[Any]]) -> None:
        """Do each job once it is permitted."""
        self.may.wait(PATIENCE)
        self.done += [job.request for job in group]

    def fail(self, group: Sequence[PendingResult[Any]], error: BaseException) -> None:
        """Set the errors of jobs."""
        for job in group:
            job.error = error

    def idle_timeout(self) -> float | None:
        """Need no call in between."""
        return None

    def on_idle(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Record the closing."""
        self.done.append("closed")

    def disconnect(self) -> None:
        """Record the pause."""
        self.done.append("disconnected")

    def reset_after_fork(self) -> None:
        """Do nothing."""


class Overtaken:
    """A writer's queue that stops the writer while a job is put in."""

    def __init__(self, writer: Writer, queue: SimpleQueue[PendingResult[Any]]) -> None:
        """Wrap the queue of a writer."""
        self._writer = writer
        self._queue = queue

    def put(self, pending: PendingResult[Any]) -> None:
        """Stop the writer in another thread, if possible, before the job is queued."""
        if pending.request == "second":
            stopper = threading.Thread(target=lambda: self._writer.stop(wait=True))
            stopper.start()
            stopper.join(A_WHILE)
        self._queue.put(pending)

    def empty(self) -> bool:
        """Return whether the queue is empty."""
        return self._queue.empty()

    def get(self, timeout: float | None = None) -> PendingResult[Any]:
        """Take the next job."""
        return self._queue.get(timeout=timeout)


def wait_for(job: PendingResult[Any]) -> bool:
    """Return whether a job ends in time."""
    waiter = threading.Thread(target=job.wait, daemon=True)
    waiter.start()
    waiter.join(PATIENCE / 6)
    return not waiter.is_alive()


def test_asked_while_it_is_stopped() -> None:
    """A job queued while the writer stops is done, before the stop or after it."""
    backend = RecordingBackend()
    backend.may.set()
    writer = Writer(backend)
    first: PendingResult[Any] = PendingResult("first", None)
    writer.put(first)
    first.wait()
    queue: Any = Overtaken(writer, writer._requests._queue)  # noqa: SLF001
    writer._requests._queue = queue  # noqa: SLF001
    second: PendingResult[Any] = PendingResult("second", None)
    writer.put(second)
    assert wait_for(second)
    writer.stop(wait=True)
    assert [one for one in backend.done if one != "closed"] == ["first", "second"]


@pytest.mark.parametrize("seed", range(5))
def test_stopped_and_asked_at_random(seed: int) -> None:
    """Each job is done once, and the last stop closes, whatever several threads do at once."""
    backend, numbers = RecordingBackend(), random.Random(seed)  # noqa: S311
    backend.may.set()
    writer, jobs = Writer(backend), list[PendingResult[Any]]()

    def work() -> None:
        for number in range(60):
            if numbers.random() < 0.3:
                writer.stop(wait=numbers.random() < 0.5)
            job: PendingResult[Any] = PendingResult(f"{threading.get_ident()} {number}", None)
            jobs.append(job)
            writer.put(job)
            if numbers.random() < 0.5:
                job.wait()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert all(wait_for(job) for job in jobs)
    writer.stop(wait=True)
    writer.stop(wait=True)
    assert backend.done[-1] == "closed"
    assert sorted(str(one) for one in backend.done if one != "closed") == sorted(
        job.request for job in jobs
    )
    deadline = time.monotonic() + PATIENCE
    while writer._requests._living and time.monotonic() < deadline:  # noqa: SLF001
        time.sleep(0.001)
    assert writer._requests._living == {}  # noqa: SLF001


def test_stopped_and_asked_again() -> None:
    """The next thread starts when the previous one has closed, and never beside it."""
    backend = RecordingBackend()
    writer = Writer(backend)
    jobs: list[PendingResult[Any]] = [PendingResult(work, None) for work in ("before", "after")]
    writer.put(jobs[0])
    writer.stop(wait=False)
    writer.put(jobs[1])
    jobs[1]._blocked.acquire(timeout=A_WHILE)  # noqa: SLF001
    assert backend.done == []
    backend.may.set()
    assert all(map(wait_for, jobs))
    writer.stop(wait=True)
    assert backend.done == ["before", "closed", "after", "closed"]


def test_closes_are_forgotten() -> None:
    """Nothing is left of a stop that was carried out."""
    backend = RecordingBackend()
    backend.may.set()
    writer = Writer(backend)
    for number in range(3):
        job: PendingResult[Any] = PendingResult(number, None)
        writer.put(job)
        job.wait()
        writer.stop(wait=True)
    deadline = time.monotonic() + PATIENCE
    while _writer_threads.pending_closes and time.monotonic() < deadline:
        time.sleep(0.001)
    assert _writer_threads.pending_closes == set()
