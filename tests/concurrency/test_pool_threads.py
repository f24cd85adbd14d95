"""The pools of threads: which thread is next, what was dropped, and how they end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import wait
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint._concurrency.pool import Call, Pool
from aiocheckpoint._concurrency.threads import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 20.0
SIZE = 3
LOOPS = 200

AT_EXIT = """
import threading, time
from aiocheckpoint._concurrency.threads import SNAPSHOTS

begun = threading.Event()

def work():
    begun.set()
    time.sleep(0.2)
    print("whole\\n", end="", flush=True)

SNAPSHOTS.submit(work)
begun.wait()
SNAPSHOTS.submit(print, "and what waited\\n", end="", flush=True)
"""

AFTER_THE_END = """
from aiocheckpoint._concurrency.pool import Pool

class Late:
    def __init__(self):
        self.pool = Pool("late", 1, per_loop=False)
        self.me = self  # to be collected in the end

    def __del__(self):
        try:
            self.pool.submit(int)
        except RuntimeError:
            print("refused", flush=True)

Late()
"""


@pytest.fixture
def pool() -> Iterator[Pool]:
    """Give a pool of three threads that end with the test."""
    made = Pool("aiocheckpoint-test", SIZE, per_loop=False)
    yield made
    made.end()


def start_all(pool: Pool) -> None:
    """Have all threads of the pool started, and idle."""
    together = threading.Barrier(SIZE, timeout=PATIENCE)
    wait([pool.submit(together.wait) for _ in range(SIZE)])
    for _ in range(SIZE):
        pool.submit(int).result()


async def called(pool: Pool, call: Call[int]) -> int:
    """Have a call carried out, and give its result."""
    pool.put(call)
    await call.future
    return call.outcome()


async def test_last_one_works_next(pool: Pool) -> None:
    """Of idle threads the one that worked last is taken, call after call."""
    start_all(pool)
    loop = asyncio.get_running_loop()
    seen = {await called(pool, Call(threading.get_ident, (), loop)) for _ in range(50)}
    assert len(seen) == 1


def test_as_many_as_are_needed(pool: Pool) -> None:
    """Calls at the same time have threads of their own, as many as the pool has, or wait."""
    gate, seen = threading.Event(), set[int]()
    entered = threading.Barrier(SIZE + 1, timeout=PATIENCE)

    def work() -> None:
        seen.add(threading.get_ident())
        if not gate.is_set():
            entered.wait()
        gate.wait(PATIENCE)

    calls = [pool.submit(work) for _ in range(2 * SIZE)]
    entered.wait()
    assert [call.running() for call in calls] == [True] * SIZE + [False] * SIZE
    gate.set()
    wait(calls)
    assert len(seen) == SIZE


async def test_dropped_call_is_never_made(pool: Pool) -> None:
    """What was dropped while it waited is passed over; what was not is done."""
    gate, done = threading.Event(), list[str]()
    held = [pool.submit(gate.wait, PATIENCE) for _ in range(SIZE)]
    calls = {name: Call(done.append, (name,), None) for name in ("dropped", "kept")}
    for call in calls.values():
        pool.put(call)
    assert calls["dropped"].drop()
    gate.set()
    wait(held)
    calls["kept"].block()
    assert done == ["kept"]
    assert not calls["kept"].drop()


def test_error_comes_out(pool: Pool) -> None:
    """What a function raises comes out of its future."""
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 1, 0).result()


def test_cancelled_future_is_passed_over(pool: Pool) -> None:
    """A future that was cancelled while it waited is not carried out."""
    gate, done = threading.Event(), list[int]()
    held = [pool.submit(gate.wait, PATIENCE) for _ in range(SIZE)]
    assert pool.submit(done.append, 1).cancel()
    gate.set()
    wait(held)
    pool.submit(done.append, 2).result()
    assert done == [2]


def test_what_is_under_way_at_the_end() -> None:
    """A process does not end before what its pools were asked for is done."""
    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, check=True)
    assert set(done.stdout.decode().splitlines()) == {"whole", "and what waited"}


def test_first_call_after_the_end() -> None:
    """Where the interpreter is taken down, nobody waits for a first thread that never runs."""
    done = subprocess.run(
        [sys.executable, "-c", AFTER_THE_END], capture_output=True, check=True, timeout=PATIENCE
    )
    assert done.stdout.decode().split() == ["refused"]


def test_nothing_after_the_end(pool: Pool) -> None:
    """A pool whose threads have ended refuses calls, instead of letting them wait for ever."""
    start_all(pool)
    pool.end()
    with pytest.raises(RuntimeError, match="at the end"):
        pool.submit(int)


def test_end_while_loops_begin() -> None:
    """Loops that ask for their first thread meanwhile do not keep a pool from ending."""
    made, loops = Pool("aiocheckpoint-test", SIZE, per_loop=True), list[asyncio.AbstractEventLoop]()

    def begin() -> None:
        for _ in range(LOOPS):
            loops.append(asyncio.new_event_loop())
            with suppress(RuntimeError):  # where the pool ended in the middle
                loops[-1].run_until_complete(run_in_thread(made, int))
            loops[-1].close()

    thread = threading.Thread(target=begin)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        while thread.is_alive():
            made.end()
    finally:
        sys.setswitchinterval(before)
        thread.join()
    made.end()
