"""Admission of runs: a crowd starts a few at a time, and no run waits for ever."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import CheckpointFlow
from aiocheckpoint._concurrency import start_throttle as module
from aiocheckpoint._concurrency.start_throttle import StartThrottle, start_throttle
from aiocheckpoint._concurrency.step_threads import StepThreads

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

FLOW = StepThreads()
PATIENCE = 20.0
MANY = 300
TURNS = 20
"""More turns of the loop than ten starts take, four in each."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make small limits."""
    monkeypatch.setattr(module, "_STARTS_PER_TURN", 4)
    monkeypatch.setattr(module, "_MOST_CALLS", 10)


async def admitted(throttle: StartThrottle) -> None:
    """Wait until a run may start."""
    if (turn := throttle.ask()) is not None:
        await turn


async def test_starts_of_a_turn() -> None:
    """In one turn of the loop so many runs start at most, in the order in which they asked."""
    throttle, started, turns = StartThrottle(), list[int](), list[int]()

    async def run(number: int) -> None:
        await admitted(throttle)
        started.append(number)

    tasks = [asyncio.create_task(run(number)) for number in range(MANY)]
    while len(started) < MANY:
        before = len(started)
        await asyncio.sleep(0)
        turns.append(len(started) - before)
    await asyncio.gather(*tasks)
    assert max(turns) == 4
    assert started == [*range(MANY)]


async def test_pending_requests_delay_starts() -> None:
    """While as many requests are pending as may be, no run starts; each that ends lets one in."""
    throttle, ends = StartThrottle(), asyncio.Queue[None]()
    started = most = pending = 0

    async def run() -> None:
        nonlocal started, pending, most
        await admitted(throttle)
        started += 1
        with throttle:
            pending += 1
            most = max(most, pending)
            await ends.get()
            pending -= 1

    tasks = [asyncio.create_task(run()) for _ in range(MANY)]
    for done in range(MANY):
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert started == min(MANY, done + 10)
        ends.put_nowait(None)
    await asyncio.gather(*tasks)
    assert most == 10


async def test_newcomer_waits_behind_the_others() -> None:
    """A run that asks when there is room again starts after the runs that wait."""
    throttle = StartThrottle()
    with ExitStack() as calls:
        for _ in range(10):
            calls.enter_context(throttle)
        first = throttle.ask()
    second = throttle.ask()
    assert first is not None
    assert second is not None
    async with asyncio.timeout(PATIENCE):
        await second
    assert first.done()


async def test_cancelled_starts() -> None:
    """Runs that are cancelled while they wait do not take the turns of others."""
    throttle, started = StartThrottle(), list[int]()

    async def run(number: int) -> None:
        await admitted(throttle)
        started.append(number)

    tasks = [asyncio.create_task(run(number)) for number in range(MANY)]
    await asyncio.sleep(0)
    for task in tasks[10::2]:
        task.cancel()
    await asyncio.wait(tasks)
    assert set(started) == {*range(10), *range(11, MANY, 2)}


@pytest.mark.parametrize("place", ["c.pkl", "sqlite"])
async def test_any_number_of_runs_can_wait_in_steps(place: str, tmp_path: Path) -> None:
    """Runs in the middle of a step, sync or async, keep no other from starting."""
    path = f"sqlite:///{tmp_path}/runs.db" if place == "sqlite" else tmp_path / place
    inside, release = 0, asyncio.Event()
    cp = CheckpointFlow(path, name="waiting", fsync=False)

    @cp.add_step()
    def sync(state: State) -> None:
        state["sync"] = True

    @cp.add_step()
    async def wait(state: State) -> None:
        nonlocal inside
        inside += 1
        if inside == MANY:
            release.set()
        await release.wait()

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(cp.arun({}, run_id=str(number)) for number in range(MANY)))


def test_a_loop_left_with_waiting_runs_is_collected() -> None:
    """A closed loop on which runs wait for their start is garbage, with its throttle."""

    async def leave() -> None:
        throttle = start_throttle(FLOW, asyncio.get_running_loop())
        for _ in range(10):
            throttle.__enter__()
        tasks.extend(asyncio.ensure_future(admitted(throttle)) for _ in range(3))
        await asyncio.sleep(0.001)

    tasks = list[asyncio.Future[None]]()
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # of tasks that are destroyed
    loop.run_until_complete(leave())
    assert not any(task.done() for task in tasks)
    loop.close()
    gone = weakref.ref(loop)
    del loop
    tasks.clear()
    gc.collect()
    assert gone() is None


def test_every_loop_has_its_own() -> None:
    """Loops in several threads do not wait for each other."""
    together = threading.Barrier(2, timeout=PATIENCE)

    async def fill() -> None:
        throttle = start_throttle(FLOW, asyncio.get_running_loop())
        for _ in range(9):
            throttle.__enter__()
        await asyncio.to_thread(together.wait)
        assert throttle.ask() is None

    threads = [threading.Thread(target=asyncio.run, args=(fill(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not together.broken


async def test_reads_need_no_turn(tmp_path: Path) -> None:
    """Reads begin at once, even while no run may start."""
    cp = CheckpointFlow(tmp_path / "runs.db", "sqlite", fsync=False)
    cp.add_step(name="a")(lambda state: None)
    await cp.arun({"n": 1}, run_id="x")
    throttle = start_throttle(cp._core.step_threads, asyncio.get_running_loop())  # noqa: SLF001
    with ExitStack() as calls:
        for _ in range(10):
            calls.enter_context(throttle)
        async with asyncio.timeout(PATIENCE):
            assert (await cp.aread("x"))["n"] == 1
            assert await cp.aheader("x") is not None
            assert len(await cp.aruns()) == 1


async def test_flows_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """A flow whose blocking calls are stuck holds up no run of another flow."""
    stuck, other = (CheckpointFlow(tmp_path / name, fsync=False) for name in ("a.pkl", "b.pkl"))
    other.add_step(name="a")(lambda state: state.update(n=1))
    throttle = start_throttle(stuck._core.step_threads, asyncio.get_running_loop())  # noqa: SLF001
    with ExitStack() as calls:
        for _ in range(1000):
            calls.enter_context(throttle)
        async with asyncio.timeout(PATIENCE):
            assert await other.arun({}) == {"n": 1}
