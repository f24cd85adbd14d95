"""Ctrl-C at every point where a thread is asked for a call: no thread is lost, no call is late."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from traced_interrupts import TracedInterrupt

from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
from aiocheckpoint._concurrency.step_threads import StepThreads
from aiocheckpoint._concurrency.threads import run_in_thread, run_shielded_in_thread
from aiocheckpoint._concurrency.work_items import WorkItem
from aiocheckpoint._snapshot.payload import PIECE_BYTES, PayloadWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from _typeshed import ReadableBuffer as Buffer

    from aiocheckpoint._concurrency.work_items import Threads

PATIENCE = 20.0
COUNT = 2
LARGE = PIECE_BYTES * 16
MANY = 250
BEFORE = {
    "WorkItem.__init__",
    "PendingResult.__init__",
    "run_shielded_in_thread",
}
"""Functions in which no thread was asked yet, or may not have been."""

FILES = {
    "pool": ["/daemon_threads.py", "/workers.py", "/work_items.py", "/threads.py"],
    "steps": ["/step_threads.py", "/daemon_threads.py", "/threads.py"],
}
CASES = [(kind, file) for kind, files in FILES.items() for file in files]


def make_threads(kind: str) -> Threads:
    """Make threads of a kind."""
    return DaemonThreads("interrupted", COUNT) if kind == "pool" else StepThreads(COUNT)


async def work_together(threads: Threads) -> None:
    """Check that all of the threads can work at the same time."""
    together = threading.Barrier(COUNT, timeout=PATIENCE)
    await asyncio.gather(*(run_in_thread(threads, together.wait) for _ in range(COUNT)))


def shut_down(threads: Threads) -> None:
    """Let all of the threads end."""
    if isinstance(threads, DaemonThreads):
        threads.shutdown()
    elif isinstance(threads, StepThreads):
        for each in threads._by_loop.values():  # noqa: SLF001
            each.shutdown()


def living() -> set[threading.Thread]:
    """Give the threads of any pool and of steps."""
    names = ("interrupted", "aiocheckpoint-step")
    return {one for one in threading.enumerate() if one.name.startswith(names) and one.is_alive()}


def await_living(count: int, before: set[threading.Thread]) -> None:
    """Wait until at most so many threads live that did not live before."""
    deadline = time.monotonic() + PATIENCE
    while len(living() - before) > count:
        assert time.monotonic() < deadline, "threads are left"
        time.sleep(0.001)


@dataclass
class Round:
    """New threads, an interrupt at the next point, and the runner of the interrupted loop."""

    threads: Threads
    interrupt: TracedInterrupt
    runner: asyncio.Runner

    def run_struck(
        self, way: Callable[..., Coroutine[Any, Any, object]], work: Callable[[], object]
    ) -> None:
        """Run `work` in a thread, interrupted on the way."""

        async def main() -> None:
            with self.interrupt.armed():
                await way(self.threads, work)

        # In the start of a thread, Ctrl-C may become a RuntimeError of a condition's lock.
        with contextlib.suppress(KeyboardInterrupt, RuntimeError):
            self.runner.run(main())

    def check(self) -> None:
        """Check that all of the threads can work."""
        self.runner.run(work_together(self.threads))


def rounds(kind: str, file: str, *, warm: bool) -> Iterator[Round]:
    """Give rounds until no point to interrupt is left.

    After each, all of the threads can work, there are no others, and they end.
    """
    before = living()
    for number in range(1, MANY):
        threads, interrupt = make_threads(kind), TracedInterrupt(file, number)
        with asyncio.Runner() as runner:
            each = Round(threads, interrupt, runner)
            if warm:
                each.check()
            yield each
            each.check()
            await_living(COUNT, before)
            shut_down(threads)
        await_living(0, before)
        # A thread interrupted before its start stays in this dict of the standard library.
        threading._limbo.clear()  # type: ignore[attr-defined] # noqa: SLF001
        if not interrupt.place:
            return
    pytest.fail("the interrupts do not end")


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # interrupted before
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize(("kind", "file"), CASES)
@pytest.mark.parametrize("way", [run_in_thread, run_shielded_in_thread])
def test_no_thread_is_lost_and_no_call_is_late(
    way: Callable[..., Coroutine[Any, Any, object]], kind: str, file: str, *, warm: bool
) -> None:
    """The function has ended when the interrupt comes out, or it is never called."""
    for each in rounds(kind, file, warm=warm):
        log = list[str]()

        def work(log: list[str] = log) -> None:
            log.append("begun")
            time.sleep(0.005)
            log.append("ended")

        each.run_struck(way, work)
        assert log in ([], ["begun", "ended"])
        each.check()
        assert log in ([], ["begun", "ended"])
        if way is run_shielded_in_thread and each.interrupt.place not in BEFORE:
            assert log, each.interrupt.place


class CountingTarget:
    """A target that counts bytes."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.length = 0

    def write(self, chunk: Buffer, /) -> None:
        """Count the bytes."""
        self.length += memoryview(chunk).nbytes

    def rewind(self) -> None:
        """Start over."""
        self.length = 0


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize("file", ["/daemon_threads.py", "/work_items.py"])
def test_large_bytes_belong_to_the_caller_again(
    file: str, monkeypatch: pytest.MonkeyPatch, *, warm: bool
) -> None:
    """After Ctrl-C while bytes are handed over to be hashed, no thread reads them."""
    for each in rounds("pool", file, warm=warm):
        monkeypatch.setattr("aiocheckpoint._snapshot.payload._DIGESTS", each.threads)
        content = bytearray(LARGE)
        with contextlib.suppress(KeyboardInterrupt), each.interrupt.armed():
            PayloadWriter(CountingTarget()).write(content)
        gc.collect()  # the frames in the traceback
        content.append(0)


def test_hashing_in_the_writing_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the thread is busy with other bytes, the writer hashes its own."""
    digests, gate = DaemonThreads("busy", 1), threading.Event()
    held = digests.submit(gate.wait, PATIENCE)
    monkeypatch.setattr("aiocheckpoint._snapshot.payload._DIGESTS", digests)
    target = CountingTarget()
    PayloadWriter(target).write(bytearray(LARGE))
    assert target.length == LARGE
    assert not held.done()
    gate.set()
    digests.shutdown()


def test_arguments_are_released() -> None:
    """The arguments of a function are released before its caller is woken."""
    threads, content = DaemonThreads("interrupted", 1), bytearray(8)
    item = WorkItem(len, (memoryview(content),), None)
    threads.put(item)
    item.join()
    content.append(0)
    threads.shutdown()


def test_coroutine_is_collected_where_its_function_runs() -> None:
    """A function in whose thread its waiting coroutine is collected comes to its end."""
    begun, gate, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        gate.wait(PATIENCE)
        gc.collect()
        done.set()

    async def wait() -> None:
        me = asyncio.current_task()  # so that it is collected, and not let go
        await run_in_thread(StepThreads(), work)
        assert me is not None

    async def main() -> None:
        waiting = asyncio.ensure_future(wait())
        await asyncio.to_thread(begun.wait, PATIENCE)
        asyncio.get_running_loop().call_soon(waiting.cancel)

    loop = asyncio.new_event_loop()
    gc.disable()
    try:
        loop.run_until_complete(main())
        loop.close()
        gate.set()
        assert done.wait(PATIENCE)
    finally:
        gc.enable()
