"""Runs whose event loop is closed under them: the flow lives on, and keeps nothing of them."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow, DrainingError
from aiocheckpoint._concurrency.start_throttle import start_throttle
from aiocheckpoint._concurrency.step_threads import StepThreads
from aiocheckpoint._concurrency.waiting_room import count_waiting
from aiocheckpoint._engine import locking

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from support import State

PATIENCE = 20.0
PLACES = ["runs/", "runs.db"]


def make_flow(path: Path, place: str, entered: threading.Event | None = None) -> CheckpointFlow:
    """Make a flow of one step, which never ends if it is to tell that it was entered."""
    handler = "sqlite" if place.endswith(".db") else "local"
    cp = CheckpointFlow(path / place, handler, name="f", fsync=False)

    @cp.add_step(name="a")
    async def a(state: State) -> None:
        if entered is not None:
            entered.set()
            await asyncio.Event().wait()

    return cp


def abandon(start: Callable[[], Coroutine[Any, Any, Any]], entered: threading.Event) -> Any:  # noqa: ANN401
    """Close a loop under a run that is in its step. Give the task."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(start())

    async def until_entered() -> None:
        while not entered.is_set():  # noqa: ASYNC110 - it is set by other threads as well
            await asyncio.sleep(0.001)

    loop.run_until_complete(until_entered())
    loop.close()
    return task


def collected(reference: weakref.ref[Any]) -> bool:
    """Whether an object is gone after a collection of garbage.

    A thread of the library may have it until its call ends.
    """
    deadline = time.monotonic() + PATIENCE
    while reference() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.001)
    return reference() is None


@pytest.mark.parametrize("place", PLACES)
def test_lock_is_released(place: str, tmp_path: Path) -> None:
    """Its task is collected, though its flow lives, and the run can be resumed elsewhere."""
    entered = threading.Event()
    cp = make_flow(tmp_path, place, entered)
    task = weakref.ref(abandon(lambda: cp.arun({}, run_id="r"), entered))
    assert collected(task)
    other = make_flow(tmp_path, place)
    other.run(run_id="r", wait=PATIENCE)
    assert cp.handler is not other.handler


# asyncio.Queue.get() and others cannot cancel their futures on a closed loop.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("place", PLACES)
def test_stream_is_collected(place: str, tmp_path: Path) -> None:
    """A stream of runs is collected as well, with the task that fills it, and its runs."""
    entered = threading.Event()
    cp = make_flow(tmp_path, place, entered)

    async def stream() -> None:
        await cp.amap({"r": {}, "s": {}}, limit=1)

    task = abandon(stream, entered)
    inner = [weakref.ref(one) for one in asyncio.all_tasks(task.get_loop())]
    del task
    assert [collected(reference) for reference in inner] == [True] * len(inner)
    assert len(inner) > 1
    make_flow(tmp_path, place).run(run_id="r", wait=PATIENCE)


async def test_drain_does_not_wait_for_it(tmp_path: Path) -> None:
    """A run that can never end is not waited for, though its task is kept."""
    entered = threading.Event()
    cp = make_flow(tmp_path, "runs/", entered)
    task = await asyncio.to_thread(abandon, lambda: cp.arun({}, run_id="r"), entered)
    async with asyncio.timeout(PATIENCE):
        assert await cp.adrain() == []
    assert not task.done()


async def test_loop_is_closed_in_a_drain(tmp_path: Path) -> None:
    """A drain notices that a loop is closed under the run for which it waits."""
    entered, closing = threading.Event(), threading.Event()
    cp = make_flow(tmp_path, "runs/", entered)
    loop, tasks = asyncio.new_event_loop(), list[asyncio.Task[Any]]()

    def run() -> None:
        tasks.append(loop.create_task(cp.arun({}, run_id="r")))
        loop.run_forever()
        closing.wait(PATIENCE)
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    await asyncio.to_thread(entered.wait, PATIENCE)
    drain = asyncio.ensure_future(cp.adrain())
    await asyncio.sleep(0.01)
    loop.call_soon_threadsafe(loop.stop)
    assert not drain.done()
    closing.set()
    async with asyncio.timeout(PATIENCE):
        assert await drain == []
    thread.join()


def test_drain_is_collected(tmp_path: Path) -> None:
    """The flow does not keep the loop of a drain that was closed under it."""
    entered, draining = threading.Event(), threading.Event()
    cp = make_flow(tmp_path, "runs/", entered)

    async def main() -> None:
        run = asyncio.ensure_future(cp.arun({}, run_id="r"))
        while not entered.is_set():  # noqa: ASYNC110 - it is no event of this loop
            await asyncio.sleep(0.001)
        drain = asyncio.ensure_future(cp.adrain())
        await asyncio.sleep(0)
        draining.set()
        await asyncio.wait([run, drain])

    loop = weakref.ref(abandon(main, draining).get_loop())
    assert collected(loop)
    with pytest.raises(DrainingError):
        cp.run({}, run_id="s")


@pytest.mark.filterwarnings("ignore:unclosed event loop")
def test_throttle_keeps_no_loop() -> None:
    """A loop that is thrown away with runs that wait for their start is collected."""
    flow, loops = StepThreads(), list[weakref.ref[Any]]()

    def throw_away() -> None:
        loop = asyncio.new_event_loop()

        async def wait() -> None:
            throttle = start_throttle(flow, loop)
            assert start_throttle(flow, loop) is throttle
            throttle.ask()

        loop.run_until_complete(wait())
        loops.append(weakref.ref(loop))

    throw_away()
    assert collected(loops[0])


def test_wake_up_of_a_stopped_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that was stopped, not closed, takes a wake-up with it. Others look."""
    monkeypatch.setattr(locking, "_POLL_SECONDS_HERE", 10_000.0)
    cp, leaves = CheckpointFlow(tmp_path / "c.pkl", fsync=False), asyncio.Event()
    begun = asyncio.Event()

    @cp.add_step()
    async def only(state: dict[str, int]) -> None:
        begun.set()
        if not leaves.is_set():
            await asyncio.sleep(100)

    async def call() -> object:
        return await cp.arun({"n": 1}, run_id="x", once=True, wait=30)

    async def first() -> None:
        task = asyncio.create_task(call())
        await begun.wait()
        await asyncio.to_thread(stopped.run_until_complete, enter())
        other = asyncio.create_task(call())
        while count_waiting(cp.handler.locate("x")) < 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        leaves.set()
        task.cancel()
        async with asyncio.timeout(10):
            await other

    async def enter() -> None:
        stuck.append(asyncio.create_task(call()))
        while not count_waiting(cp.handler.locate("x")):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)

    stuck = list[asyncio.Task[object]]()
    stopped = asyncio.new_event_loop()
    asyncio.run(first())
    stopped.run_until_complete(stuck[0])
    stopped.close()
