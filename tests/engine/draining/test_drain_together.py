"""Several calls drain one flow: from tasks, loops, threads and signal handlers, with one answer."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from blocking_flow import LAST, BlockingFlow, statuses
from interrupts import Latch, turns

from aiocheckpoint import DrainingError, InvalidTypeError, Retry, events

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from run_factories import Runs
    from support import State

    from aiocheckpoint import CheckpointFlow
    from aiocheckpoint.events import Event

SOON = 0.01
PATIENCE = 20.0


async def test_twice(database: Runs) -> None:
    """A second call in another task waits for the first. All later ones have the same answer."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(database)
    (task,) = await blocking_flow.start(cp, "x")
    drains = [asyncio.create_task(cp.adrain()) for _ in range(3)]
    await turns(5)
    assert not any(drain.done() for drain in drains)
    blocking_flow.free.set()
    assert await asyncio.gather(*drains) == [[]] * 3
    assert await cp.adrain(timeout=0) == cp.drain() == []
    with pytest.raises(DrainingError):
        await task


async def test_from_another_loop_and_thread(database: Runs) -> None:
    """A call on the loop of another thread, and one that blocks a thread, wait as well."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(database)
    (task,) = await blocking_flow.start(cp, "x")
    first = asyncio.create_task(cp.adrain(timeout=3_600))
    await turns(3)
    others = [
        asyncio.create_task(asyncio.to_thread(call))
        for call in (cp.drain, lambda: asyncio.run(cp.adrain()))
    ]
    await asyncio.sleep(0.05)
    assert not any(one.done() for one in (first, *others))
    blocking_flow.free.set()
    assert await asyncio.gather(first, *others) == [[]] * 3
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], DrainingError)


async def test_end_of_the_first_ones_time(database: Runs) -> None:
    """When the time of the first is over, all have its answer, also those that come later."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(database)
    (task,) = await blocking_flow.start(cp, "x")
    drains = [asyncio.create_task(cp.adrain(timeout)) for timeout in (0.2, None, 3_600)]
    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(*drains) == [["x"]] * 3
        assert await cp.adrain() == ["x"]
        assert await asyncio.to_thread(cp.drain) == ["x"]
    blocking_flow.free.set()
    await asyncio.gather(task, return_exceptions=True)


async def test_end_of_the_second_ones_time(database: Runs) -> None:
    """A second call waits no longer than its own time. The first one waits on."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(database)
    (task,) = await blocking_flow.start(cp, "x")
    first = asyncio.create_task(cp.adrain())
    await turns(3)
    assert await cp.adrain(timeout=SOON) == ["x"]
    assert not first.done()
    blocking_flow.free.set()
    assert await first == []
    await asyncio.gather(task, return_exceptions=True)


async def test_first_is_cancelled(database: Runs) -> None:
    """The others wait on, and one of them leads."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(database)
    (task,) = await blocking_flow.start(cp, "x")
    first, *others = (asyncio.create_task(cp.adrain()) for _ in range(3))
    await turns(5)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert first.cancelled()
    await turns(5)
    assert not any(other.done() for other in others)
    blocking_flow.free.set()
    assert await asyncio.gather(*others) == [[]] * 2
    await asyncio.gather(task, return_exceptions=True)


async def test_second_leads(database: Runs) -> None:
    """Where the first was cancelled, the end of the second one's time is the answer for all."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(database)
    (task,) = await blocking_flow.start(cp, "x")
    first, second = (asyncio.create_task(cp.adrain(timeout)) for timeout in (None, 0.2))
    await turns(5)
    first.cancel()
    async with asyncio.timeout(PATIENCE):
        assert await second == ["x"]
        assert await cp.adrain() == ["x"]
    blocking_flow.free.set()
    await asyncio.gather(first, task, return_exceptions=True)


async def test_in_a_nested_step(database: Runs) -> None:
    """A step of another flow, run by a step of this one, is refused as well: it would wait."""
    cp, other, refused = database.empty_flow(), database.empty_flow(name="other"), list[str]()

    @other.add_step()
    async def inner(state: State) -> None:
        with pytest.raises(DrainingError, match="would wait for itself") as info:
            await cp.adrain()
        refused.append(str(info.value))

    @cp.add_step()
    async def outer(state: State) -> None:
        await other.arun({}, run_id="inner")

    await cp.arun({}, run_id="x")
    assert "step 'outer'" in refused[0]


@pytest.mark.parametrize("where", ["hook", "around"])
async def test_in_a_hook_of_its_own_run(where: str, database: Runs) -> None:
    """A hook or a context manager of a run cannot await the drain. It may ask by `drain`."""
    found: list[object] = []

    async def call() -> None:
        with pytest.raises(DrainingError, match="would wait for itself"):
            await cp.adrain()
        found.append(cp.drain())

    async def hook(event: Event) -> None:
        if where == "hook" and isinstance(event, events.RunStarted):
            await call()

    class Manager:
        async def __aenter__(self) -> None:
            await call()

        async def __aexit__(self, *_: object) -> None:
            pass

    def around(part: str, event: Event) -> Manager | None:
        return Manager() if (where, part) == ("around", "run") else None

    cp = database.empty_flow(hooks=[hook], around=[around])
    database.add(cp, "a")
    with pytest.raises(DrainingError, match="stopped on its way"):
        await cp.arun({}, run_id="x")
    assert (found, database.ran()) == ([["x"]], [])


def test_in_a_step_under_run(runs: Runs) -> None:
    """`drain` in a step asks and returns at once. The run stops behind the step."""
    cp, asked = runs.empty_flow(), list[object]()
    for name in "ab":
        runs.add(cp, name)

    def ask(state: State) -> None:
        asked.append(cp.drain())

    cp.add_step(before="b", name="ask")(ask)
    with pytest.raises(DrainingError, match="stopped on its way"):
        cp.run({}, run_id="x")
    assert (asked, runs.ran(), statuses(cp, ["x"])) == ([["x"]], ["a"], ["stopped"])
    with pytest.raises(DrainingError, match="no run starts any more"):
        cp.run({}, run_id="y")
    assert cp.drain() == []
    again = runs.flow("a")
    for name in ("ask", "b"):
        runs.add(again, name)
    again.run(run_id="x")
    assert runs.ran() == ["a", "b"]


@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_in_a_step_under_arun(kind: str, runs: Runs) -> None:
    """`drain` in a coroutine step or in the thread of a sync one does not wait for itself."""
    cp, asked = runs.empty_flow(), list[object]()

    def ask(state: State) -> None:
        asked.append(cp.drain())

    async def ask_on_loop(state: State) -> None:
        ask(state)

    cp.add_step(name="ask")(ask if kind == "thread" else ask_on_loop)
    runs.add(cp, "b")
    with pytest.raises(DrainingError, match="stopped on its way"):
        await cp.arun({}, run_id="x")
    assert (asked, statuses(cp, ["x"])) == ([["x"]], ["stopped"])


def test_from_a_thread_while_run_is_under_way(runs: Runs) -> None:
    """`drain` in another thread waits for the run, and no longer than its time."""
    latch, answers = Latch(blocks=True), list[object]()
    blocking_flow = BlockingFlow(latch=latch)
    cp = blocking_flow.flow(runs)

    def drain() -> None:
        assert latch.entered.wait(PATIENCE)
        answers.append(cp.drain(timeout=SOON))
        latch.opened.set()
        answers.append("over")

    thread = threading.Thread(target=drain)
    thread.start()
    with pytest.raises(DrainingError, match="stopped on its way"):
        cp.run({}, run_id="x")
    thread.join()
    assert answers == [["x"], "over"]
    assert blocking_flow.flow(runs).run(run_id="x") == LAST


def test_waits_for_a_run_in_another_thread(runs: Runs) -> None:
    """`drain` returns when the run has ended, and not before."""
    latch, ended = Latch(blocks=True), list[object]()
    blocking_flow = BlockingFlow(latch=latch)
    cp = blocking_flow.flow(runs)

    def run() -> None:
        try:
            cp.run({}, run_id="x")
        except DrainingError as error:
            ended.append(error)

    def free() -> None:
        time.sleep(0.1)
        assert not ended
        latch.opened.set()

    threads = [threading.Thread(target=target) for target in (run, free)]
    threads[0].start()
    assert latch.entered.wait(PATIENCE)
    threads[1].start()
    assert cp.drain() == []
    assert statuses(cp, ["x"]) == ["stopped"]
    for thread in threads:
        thread.join()
    assert len(ended) == 1


def test_never_run(runs: Runs) -> None:
    """A flow that was never run is drained at once, and stores nothing."""
    cp = runs.flow("a")
    assert cp.drain() == cp.drain(timeout=0) == []
    with pytest.raises(DrainingError):
        cp.run({}, run_id="x")
    assert statuses(cp, ["x"]) == [None]


def test_bad_timeout(runs: Runs) -> None:
    """A wrong limit drains nothing."""
    cp = runs.flow("a")
    with pytest.raises(InvalidTypeError):
        cp.drain("soon")  # type: ignore[arg-type]
    cp.run({}, run_id="x")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("way", ["step", "retry", "loop"])
def test_signal_under_run(way: str, runs: Runs) -> None:
    """A handler that calls `drain` returns at once, in a step and in a sleep between attempts."""
    cp, asked = runs.empty_flow(), list[object]()

    def strike() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)

    def step(state: State) -> None:
        if way == "retry":
            threading.Timer(0.05, strike).start()
            raise ConnectionError("not yet")
        strike()

    async def on_loop(state: State) -> None:
        threading.Timer(0.05, strike).start()
        while not asked:  # noqa: ASYNC110 - a handler of the system sets it
            await asyncio.sleep(SOON)

    add = slow_retry(cp) if way == "retry" else cp.add_step(name="a")
    add(on_loop if way == "loop" else step)
    runs.add(cp, "b")
    with handled(lambda: asked.append(cp.drain())), pytest.raises(DrainingError):
        cp.run({}, run_id="x")
    assert asked == [["x"]]
    header = cp.handler.header("x")
    assert (header.status, header.position) == ("stopped", 0 if way == "retry" else 1)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_signal_under_map(database: Runs) -> None:
    """A handler in the thread that takes the results of `map` does not wait for the runs."""
    cp, asked = database.empty_flow(), list[object]()

    def step(state: State) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        deadline = time.monotonic() + PATIENCE
        while not asked:
            assert time.monotonic() < deadline
            time.sleep(SOON)

    cp.add_step(name="a")(step)
    cp.add_step(name="b")(lambda state: None)
    results = cp.map({"x": {}, "y": {}}, limit=1)
    with handled(lambda: asked.append(cp.drain())), results, pytest.raises(DrainingError):
        list(results)
    assert asked == [["x"]]
    assert statuses(cp, "xy") == ["stopped", None]


@pytest.mark.parametrize("kind", ["arun", "thread"])
async def test_sleeping_retry(kind: str, runs: Runs) -> None:
    """The sleep between two attempts ends at once, on a loop and in the thread of `run`."""
    failed = threading.Event()

    def hook(event: Event) -> None:
        if isinstance(event, events.AttemptFailed):
            failed.set()

    cp = runs.empty_flow(hooks=[hook])

    def fail(state: State) -> None:
        state["begun"] = True
        raise ConnectionError("not yet")

    slow_retry(cp)(fail)
    begun = cp.arun({}, run_id="x") if kind == "arun" else asyncio.to_thread(cp.run, {}, run_id="x")
    task = asyncio.ensure_future(begun)
    await asyncio.to_thread(failed.wait, PATIENCE)
    await asyncio.sleep(0.05)  # It sleeps by now, mostly.
    async with asyncio.timeout(PATIENCE):
        assert await cp.adrain() == []
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], DrainingError)
    header = cp.handler.header("x")
    assert (header.status, header.position) == ("stopped", 0)
    assert await cp.aread("x") == {"checkpoint_index": 0}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("way", ["second drain", "Ctrl-C"])
def test_signal_in_a_blocking_drain(way: str, runs: Runs) -> None:
    """A handler may drain once more, and Ctrl-C ends the wait. The flow stays drained."""
    latch, answers, ended = Latch(blocks=True), list[object](), list[object]()
    blocking_flow = BlockingFlow(latch=latch)
    cp = blocking_flow.flow(runs)

    def run() -> None:
        with pytest.raises(DrainingError) as info:
            cp.run({}, run_id="x")
        ended.append(info.value)

    def strike() -> None:
        while not cp._core.settings.active_runs.drain_requested:  # noqa: SLF001
            time.sleep(SOON)
        time.sleep(SOON)
        os.kill(os.getpid(), signal.SIGUSR1)

    def handle() -> None:
        if way == "Ctrl-C":
            raise KeyboardInterrupt
        answers.append(cp.drain())
        latch.opened.set()

    threads = [threading.Thread(target=target) for target in (run, strike)]
    threads[0].start()
    assert latch.entered.wait(PATIENCE)
    threads[1].start()
    with handled(handle):
        if way == "Ctrl-C":
            with pytest.raises(KeyboardInterrupt):
                cp.drain()
            latch.opened.set()
        else:
            assert cp.drain() == []
            assert answers == [["x"]]
    for thread in threads:
        thread.join()
    assert len(ended) == 1
    assert statuses(cp, ["x"]) == ["stopped"]


def slow_retry(cp: CheckpointFlow) -> Callable[[Callable[..., object]], object]:
    """Give the decorator of a step that is tried again after an hour."""
    return cp.add_step(name="a", retry=Retry(on=lambda _: 3_600.0, timeout=None))


@contextmanager
def handled(call: Callable[[], object]) -> Generator[None]:
    """Call a function at SIGUSR1 inside the block."""
    before = signal.signal(signal.SIGUSR1, lambda *_: call())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
