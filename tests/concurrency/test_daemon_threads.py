"""Daemon threads: their number, dropped items, and their end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import wait
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
from aiocheckpoint._concurrency.step_threads import StepThreads
from aiocheckpoint._concurrency.threads import run_in_thread
from aiocheckpoint._concurrency.work_items import WorkItem

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 20.0
COUNT = 3
LOOPS = 200
NAME = "aiocheckpoint-test"

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
from aiocheckpoint._concurrency.daemon_threads import DaemonThreads

class Late:
    def __init__(self):
        self.threads = DaemonThreads("late", 1)
        self.me = self  # to be collected in the end

    def __del__(self):
        try:
            self.threads.submit(int)
        except RuntimeError:
            print("refused", flush=True)

Late()
"""

AFTER_THE_MAIN_THREAD = """
import asyncio, sys, threading, time
from aiocheckpoint import CheckpointFlow

cp = CheckpointFlow(sys.argv[1])
begun = threading.Event()

@cp.add_step()
def sync(state):
    begun.set()
    threading.main_thread().join()
    state["sync"] = True

@cp.add_step()
async def coroutine(state):
    state["coroutine"] = True

threading.Thread(target=lambda: print(asyncio.run(cp.arun({})), flush=True)).start()
begun.wait()  # Python 3.12 starts no thread any more when the main thread has ended.
"""


@pytest.fixture
def threads() -> Iterator[DaemonThreads]:
    """Give three threads that end with the test."""
    made = DaemonThreads(NAME, COUNT)
    yield made
    made.shutdown()


def start_all(threads: DaemonThreads) -> None:
    """Start all threads and let them be idle."""
    together = threading.Barrier(COUNT, timeout=PATIENCE)
    wait([threads.submit(together.wait) for _ in range(COUNT)])
    for _ in range(COUNT):
        threads.submit(int).result()


def living() -> int:
    """Count the threads that live."""
    return sum(one.name == NAME for one in threading.enumerate())


async def test_one_caller_has_one_thread(threads: DaemonThreads) -> None:
    """One caller uses the same thread, call after call, and no other is started."""
    seen = {await run_in_thread(threads, threading.get_ident) for _ in range(50)}
    assert len(seen) == living() == 1


def test_as_many_as_are_needed(threads: DaemonThreads) -> None:
    """Calls at the same time have threads of their own, up to the count, or wait."""
    gate, seen = threading.Event(), set[int]()
    entered = threading.Barrier(COUNT + 1, timeout=PATIENCE)

    def work() -> None:
        seen.add(threading.get_ident())
        if not gate.is_set():
            entered.wait()
        gate.wait(PATIENCE)

    calls = [threads.submit(work) for _ in range(2 * COUNT)]
    entered.wait()
    assert [call.running() for call in calls] == [True] * COUNT + [False] * COUNT
    gate.set()
    wait(calls)
    assert len(seen) == COUNT


def test_idle_threads_end() -> None:
    """Threads without work end after a while, and are started again for the next call.

    One that waits for ever by the fault of `SimpleQueue` ends behind the next call.
    """
    threads = DaemonThreads(NAME, COUNT, idle_seconds=0.001)
    for _ in range(3):
        start_all(threads)
        begun = time.monotonic()
        called = begun
        while living():
            now = time.monotonic()
            assert now - begun < PATIENCE
            if now - called > 0.5:
                called = now
                threads.submit(int)
            time.sleep(0.001)


def test_no_call_is_lost_when_threads_end() -> None:
    """Every call is made, also one that comes at the very moment when a thread ends."""
    threads = DaemonThreads(NAME, COUNT, idle_seconds=0.0)
    for number in range(2000):
        assert threads.submit(int, number).result(PATIENCE) == number
    threads.shutdown()


async def test_dropped_item_is_never_run(threads: DaemonThreads) -> None:
    """An item that was dropped in the queue is passed over, and another one is run."""
    gate, done = threading.Event(), list[str]()
    held = [threads.submit(gate.wait, PATIENCE) for _ in range(COUNT)]
    items = {name: WorkItem(done.append, (name,), None) for name in ("dropped", "kept")}
    for item in items.values():
        threads.put(item)
    assert items["dropped"].drop()
    gate.set()
    wait(held)
    items["kept"].join()
    assert done == ["kept"]
    assert not items["kept"].drop()


def test_error_comes_out(threads: DaemonThreads) -> None:
    """The exception of a function comes out of its future."""
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 1, 0).result()


def test_cancelled_future_is_passed_over(threads: DaemonThreads) -> None:
    """The function of a future that was cancelled in the queue is not called."""
    gate, done = threading.Event(), list[int]()
    held = [threads.submit(gate.wait, PATIENCE) for _ in range(COUNT)]
    assert threads.submit(done.append, 1).cancel()
    gate.set()
    wait(held)
    threads.submit(done.append, 2).result()
    assert done == [2]


def output_of(*words: object) -> list[str]:
    """Give the lines that a Python of its own prints."""
    command = [sys.executable, "-c", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert not done.stderr
    return done.stdout.splitlines()


def test_exit_waits_for_running_calls() -> None:
    """A process does not end before running and queued calls have."""
    assert set(output_of(AT_EXIT)) == {"whole", "and what waited"}


def test_first_call_after_the_end() -> None:
    """At the end of the interpreter a call is refused, for a new thread would never run."""
    assert output_of(AFTER_THE_END) == ["refused"]


def test_runs_outlive_the_main_thread(tmp_path: object) -> None:
    """A run on the loop of another thread comes to its end behind that of the main thread."""
    state = str({"sync": True, "coroutine": True})
    assert output_of(AFTER_THE_MAIN_THREAD, f"{tmp_path}/c.pkl") == [state]


def test_nothing_after_the_end(threads: DaemonThreads) -> None:
    """Threads that were shut down refuse calls, instead of letting them wait for ever."""
    start_all(threads)
    threads.shutdown()
    assert not living()
    with pytest.raises(RuntimeError, match="at interpreter shutdown"):
        threads.submit(int)


def test_shut_down_while_loops_begin(threads: DaemonThreads) -> None:
    """Loops that ask for their first thread meanwhile do not keep threads from ending."""

    def begin() -> None:
        for _ in range(LOOPS):
            with suppress(RuntimeError):  # where they were shut down in the middle
                asyncio.run(run_in_thread(threads, int))

    thread = threading.Thread(target=begin)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        while thread.is_alive():
            threads.shutdown()
    finally:
        sys.setswitchinterval(before)
        thread.join()
    threads.shutdown()
    assert not living()


@pytest.mark.parametrize("count", [1, 3])
async def test_count_of_step_threads(count: int) -> None:
    """As many sync functions run at once as there are step threads, and no more."""
    steps, lock = StepThreads(count), threading.Lock()
    running, most = 0, 0

    def step() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    await asyncio.gather(*(run_in_thread(steps, step) for _ in range(4 * count)))
    assert most == count
    assert repr(steps) == f"StepThreads({count})"
