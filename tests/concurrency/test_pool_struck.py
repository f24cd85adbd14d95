"""Ctrl-C at every point where a thread is asked for something: none is lost, nothing comes late."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from traced_interrupts import TracedInterrupt

from aiocheckpoint._concurrency.pool import Call, Pool
from aiocheckpoint._concurrency.threads import STEPS, run_in_thread, run_shielded_in_thread
from aiocheckpoint._snapshot.payload import PIECE_BYTES, PayloadWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from _typeshed import ReadableBuffer as Buffer

PATIENCE = 20.0
SIZE = 2
LARGE = PIECE_BYTES * 16
MANY = 100
BEFORE = {"Call.__init__", "run_shielded_in_thread"}
"""Where nobody was asked for anything yet, or may not have been."""


@dataclass
class Interrupted:
    """Pools to interrupt, one after the other, each of which must be whole in the end."""

    warm: bool
    made: dict[str, Pool] = field(default_factory=dict[str, Pool])

    def each(self, file: str) -> Iterator[tuple[Pool, TracedInterrupt]]:
        """Give a new pool and where to interrupt, again and again until no point is left."""
        for number in range(1, MANY):
            name = f"interrupted-{number}."
            pool, interrupt = Pool(name, SIZE, per_loop=False), TracedInterrupt(file, number)
            if self.warm:
                pool.submit(int).result()
            self.made[name] = pool
            yield pool, interrupt
            if not interrupt.place:
                return
        pytest.fail("there is no end of it")

    def are_whole(self) -> None:
        """See that all of their threads can work, no other is there, and they end."""
        for name, pool in self.made.items():
            together = threading.Barrier(SIZE, timeout=PATIENCE)
            for call in [pool.submit(together.wait) for _ in range(SIZE)]:
                call.result()
            assert len(_threads(name)) == SIZE
            pool.end()
            assert not _threads(name)


def _threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


@pytest.fixture(params=[True, False], ids=["warm", "cold"])
def pools(request: pytest.FixtureRequest) -> Iterator[Interrupted]:
    """Give pools, with a thread that is idle or without."""
    made = Interrupted(request.param)
    yield made
    made.are_whole()


def run_interrupted(
    interrupt: TracedInterrupt,
    way: Callable[..., Coroutine[Any, Any, object]],
    pool: Pool,
    work: Callable[[], object],
) -> None:
    """Run it on a loop, interrupted on the way."""

    async def main() -> None:
        with interrupt.armed():
            await way(pool, work)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # interrupted
@pytest.mark.parametrize("file", ["pool.py", "threads.py"])
@pytest.mark.parametrize("way", [run_in_thread, run_shielded_in_thread])
def test_no_thread_is_lost_and_nothing_is_late(
    way: Callable[..., Coroutine[Any, Any, object]], file: str, pools: Interrupted
) -> None:
    """An interrupted wait for a thread: the function has ended by then, or is never called."""
    for pool, interrupt in pools.each(file):
        log = list[str]()

        def work(log: list[str] = log) -> None:
            log.append("begun")
            time.sleep(0.005)
            log.append("ended")

        run_interrupted(interrupt, way, pool, work)
        assert log in ([], ["begun", "ended"])
        pool.submit(int).result()
        assert log in ([], ["begun", "ended"])
        if way is run_shielded_in_thread and interrupt.place not in BEFORE:
            assert log, interrupt.place


class Takes:
    """A target that remembers how much it took."""

    def __init__(self) -> None:
        """Nothing was taken yet."""
        self.length = 0

    def write(self, chunk: Buffer, /) -> None:
        """Take it."""
        self.length += memoryview(chunk).nbytes

    def rewind(self) -> None:
        """Start over."""
        self.length = 0


def test_large_bytes_belong_to_the_caller_again(
    pools: Interrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while bytes are handed over to be hashed: no thread looks at them any more."""
    for pool, interrupt in pools.each("pool.py"):
        monkeypatch.setattr("aiocheckpoint._snapshot.payload._DIGESTS", pool)
        content = bytearray(LARGE)
        with contextlib.suppress(KeyboardInterrupt), interrupt.armed():
            PayloadWriter(Takes()).write(content)
        gc.collect()  # the frames in the traceback
        content.append(0)


def test_what_was_passed_is_let_go() -> None:
    """What a function was called with is let go before the one who waits goes on."""
    pool, content = Pool("let-go", 1, per_loop=False), bytearray(8)
    call = Call(len, (memoryview(content),), None)
    pool.put(call)
    call.block()
    content.append(0)
    pool.end()


def test_coroutine_is_collected_where_its_function_runs() -> None:
    """A function in whose thread the coroutine is collected that waits for it comes to its end."""
    begun, gate, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        gate.wait(PATIENCE)
        gc.collect()
        done.set()

    async def wait() -> None:
        me = asyncio.current_task()  # so that it is collected, and not let go
        await run_in_thread(STEPS, work)
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
