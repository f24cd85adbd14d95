"""`watch` gives any number of watchers the events of all runs, and no run waits for one."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import itertools
import os
import pickle
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hearing import PATIENCE, listeners_of, word_of

from aiocheckpoint import (
    CheckpointFlow,
    DrainingError,
    InvalidTypeError,
    InvalidValueError,
    StreamConsumedError,
    Watch,
    current_step,
)
from aiocheckpoint.events import (
    Event,
    EventsDropped,
    RunFinished,
    RunStarted,
    RunSubmitted,
    StepProgressed,
    StepStarted,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from pathlib import Path

    from support import State

WORDS = [
    *("RunStarted", "SnapshotWritten", "StepStarted a", "a 1"),
    *("StepFinished a", "SnapshotWritten", "RunFinished"),
]


def make_flow(place: Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401 (passed on as is)
    """Make a flow of one coroutine, in a directory."""
    cp = CheckpointFlow(place / "runs", "local", fsync=False, **options)

    @cp.add_step()
    async def a(state: State) -> None:
        current_step().progress(1)
        if "free" in state:
            await GATES[state["free"]].wait()

    return cp


GATES: dict[int, asyncio.Event] = {}
_numbers = itertools.count()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Give a directory with one for runs."""
    (tmp_path / "runs").mkdir()
    return tmp_path


@contextlib.asynccontextmanager
async def held_run(cp: CheckpointFlow, run_id: str) -> AsyncGenerator[asyncio.Event]:
    """Let a run be in its step in a block, which it leaves at the latest at its end."""
    number, gate = next(_numbers), asyncio.Event()
    GATES[number] = gate
    async with cp.watch(run_id) as watch:
        task = asyncio.create_task(cp.arun({"free": number}, run_id=run_id))
        async for event in watch:
            if isinstance(event, StepProgressed):
                break
    try:
        yield gate
    finally:
        gate.set()
        with contextlib.suppress(DrainingError):
            await task
        del GATES[number]


async def test_all_runs_and_one(place: Path) -> None:
    """A watcher of all runs gets what a hook gets, in order, and one of a run that run alone."""
    hooked = list[Event]()
    cp = make_flow(place, hooks=[hooked.append])
    everything, of_one = cp.watch(), cp.watch("1")
    await asyncio.gather(*(cp.arun({}, run_id=str(number)) for number in range(3)))
    await cp.adrain()
    assert [event async for event in everything] == hooked
    one = [event async for event in of_one]
    assert {event.run_id for event in one} == {"1"}
    assert [word_of(event) for event in one] == WORDS


async def test_live(place: Path) -> None:
    """A watcher that comes in the midst of a run hears the rest as it happens."""
    cp = make_flow(place)
    async with held_run(cp, "1") as gate, cp.watch() as watch:
        assert watch.in_progress
        waiting = asyncio.create_task(anext(watch))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        gate.set()
        assert word_of(await waiting) == "StepFinished a"
        assert [word_of(await anext(watch)) for _ in range(2)] == WORDS[-2:]
    assert listeners_of(cp).known == {}


def test_in_threads(place: Path) -> None:
    """Scripts hear by plain loops, in threads of their own, and get all events."""
    cp, heard = make_flow(place), dict[int, list[str]]()

    def hear(number: int, watch: Watch) -> None:
        with watch:
            heard[number] = [word_of(event) for event in watch]

    threads = [threading.Thread(target=hear, args=(n, cp.watch("1"))) for n in range(3)]
    for thread in threads:
        thread.start()
    cp.run({}, run_id="1")
    cp.drain()
    for thread in threads:
        thread.join(PATIENCE)
    assert heard == dict.fromkeys(range(3), WORDS)


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_slow_watcher(place: Path, size: int) -> None:
    """A slow watcher loses the oldest events, and the number of them stands in their place."""
    cp = make_flow(place)
    slow, quick = cp.watch(size=size), cp.watch()
    await cp.arun({}, run_id="1")
    assert word_of(await anext(quick)) == "RunStarted"
    first = await anext(slow)
    await cp.arun({}, run_id="2")
    await cp.adrain()
    kept, all_events = [event async for event in slow], [event async for event in quick]
    dropped = len(WORDS) - size
    if size >= len(WORDS):
        assert word_of(first) == "RunStarted"
    else:
        assert first == EventsDropped(flow=cp.name, run_id=None, number=0, count=dropped)
    lost = sum(event.count for event in [first, *kept] if isinstance(event, EventsDropped))
    given = [event for event in [first, *kept] if not isinstance(event, EventsDropped)]
    assert lost + len(given) == 1 + len(all_events)
    assert given[-min(size, 7) :] == all_events[-min(size, 7) :]


async def test_closing(place: Path) -> None:
    """A watcher that is closed, by whatever, is forgotten, and its loop ends."""
    cp = make_flow(place)
    async with cp.watch() as of_async, cp.watch() as closed:
        with cp.watch() as of_sync:
            assert len(listeners_of(cp).known) == 3
        await cp.arun({}, run_id="1")
        assert repr(of_async) == "<Watch of 'runs'>"
        await closed.aclose()
    assert [event async for event in of_async] == []
    assert list(of_sync) == [event async for event in closed] == []
    assert repr(closed) == "<Watch of 'runs', ended>"
    assert repr(cp.watch("7")) == "<Watch of 'runs', run '7'>"
    gc.collect()
    assert listeners_of(cp).known == {}


async def test_closed_while_it_waits(place: Path) -> None:
    """Closing ends the wait of another task, and that of a thread."""
    cp = make_flow(place)
    first, second = cp.watch(), cp.watch()
    waiting = asyncio.create_task(anext(first, None))
    in_thread = asyncio.create_task(asyncio.to_thread(next, second, None))
    await asyncio.sleep(0)
    first.close()
    second.close()
    assert [one is None for one in await asyncio.gather(waiting, in_thread)] == [True, True]


async def test_dropped(place: Path) -> None:
    """A watcher that is dropped, as by `break`, is forgotten. So is one in a cycle of garbage."""
    cp = make_flow(place)
    kept = cp.watch()
    run = asyncio.create_task(cp.arun({}, run_id="1"))
    async for _ in cp.watch("1", size=1):
        break
    await run
    cycle: list[Any] = [cp.watch()]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert len(listeners_of(cp).known) == 1
    kept.close()


async def test_ends_with_the_drain(place: Path) -> None:
    """Watchers end with the lifespan of the flow, behind its last event."""
    cp = make_flow(place)
    async with cp:
        watch = cp.watch()
        waiting = asyncio.create_task(listed(watch))
        await asyncio.sleep(0)
        async with held_run(cp, "1"):
            draining = asyncio.create_task(cp.adrain())
            await asyncio.sleep(0)
            assert not waiting.done()
        await draining
        assert (await waiting)[-1] == "RunFinished"
    assert await listed(cp.watch()) == []
    async with cp:
        watch = cp.watch("2")
        await cp.arun({}, run_id="2")
    assert await listed(watch) == WORDS


async def test_drain_that_gives_up(place: Path) -> None:
    """A drain whose time is over ends the watchers, though a run is left in its step."""
    cp = make_flow(place)
    waiting = asyncio.create_task(listed(cp.watch()))
    await asyncio.sleep(0)
    async with held_run(cp, "1"):
        assert await cp.adrain(timeout=0) == ["1"]
        assert (await waiting)[-1] == "a 1"


async def listed(watch: Watch) -> list[str]:
    """Give all that a watcher gets, in short words."""
    return [word_of(event) async for event in watch]


async def test_until_the_end(place: Path) -> None:
    """With `until_end=True` a watcher ends with the run, and at once where none is in progress."""
    cp = make_flow(place)
    assert await listed(cp.watch("1", until_end=True)) == []
    async with held_run(cp, "1") as first, held_run(cp, "2"):
        assert await listed(cp.watch("3", until_end=True)) == []
        of_first = asyncio.create_task(listed(cp.watch("1", until_end=True)))
        of_all = asyncio.create_task(listed(cp.watch(until_end=True)))
        await asyncio.sleep(0)
        first.set()
        assert await of_first == WORDS[-3:]
        assert not of_all.done()
    assert await of_all == [*WORDS[-3:], *WORDS[-3:]]


async def test_call_that_waits_is_not_in_progress(place: Path) -> None:
    """A call that waits for the lock of a run is no run in progress."""
    cp, other = make_flow(place), make_flow(place)
    async with held_run(other, "1"):
        waiting = asyncio.create_task(cp.arun({}, run_id="1", wait=PATIENCE))
        for _ in range(100):
            await asyncio.sleep(0)
        watch = cp.watch("1", until_end=True)
        assert not watch.in_progress
        assert await listed(watch) == []
    await waiting


async def test_one_loop_at_a_time(place: Path) -> None:
    """A second task or thread that waits for the same watcher is refused."""
    cp = make_flow(place)
    watch = cp.watch()
    waiting = asyncio.create_task(anext(watch))
    await asyncio.sleep(0)
    with pytest.raises(StreamConsumedError, match="Call watch"):
        await anext(watch)
    with pytest.raises(StreamConsumedError, match="Call watch"):
        next(watch)
    await cp.arun({}, run_id="1")
    assert word_of(await waiting) == "RunStarted"
    watch.close()


async def test_cancelled_wait(place: Path) -> None:
    """A wait that is cancelled loses no event, and the next loop goes on behind it."""
    cp = make_flow(place)
    watch = cp.watch()
    waiting = asyncio.create_task(anext(watch))
    await asyncio.sleep(0)
    run = asyncio.create_task(cp.arun({}, run_id="1"))
    while not watch._events:  # noqa: SLF001, ASYNC110
        await asyncio.sleep(0)
    waiting.cancel()
    taken = await asyncio.gather(waiting, return_exceptions=True)
    await run
    await cp.adrain()
    given = [word_of(one) for one in taken if isinstance(one, Event)]
    assert [*given, *await listed(watch)] == WORDS


def test_several_loops(place: Path) -> None:
    """A watcher serves one loop after the other, also where the first was closed under a wait."""
    cp = make_flow(place)
    watch = cp.watch()
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(anext(watch))
    loop.run_until_complete(asyncio.sleep(0))
    waiting._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001
    loop.close()
    assert word_of(asyncio.run(first_of_run(cp, watch))) == "RunStarted"
    assert word_of(next(watch)) == "SnapshotWritten"
    watch.close()
    del waiting


async def first_of_run(cp: CheckpointFlow, watch: Watch) -> Event:
    """Wait for an event before the run that gives it begins."""
    waiting = asyncio.create_task(anext(watch))
    await asyncio.sleep(0)
    await cp.arun({}, run_id="1")
    return await waiting


def test_notebook(place: Path) -> None:
    """Under `run` inside a running loop, a thread hears live, and a task of that loop behind it."""
    cp, live = make_flow(place), list[str]()

    async def cells() -> list[str]:
        def hear() -> None:
            for event in cp.watch("1"):
                live.append(word_of(event))
                heard.set()
                if isinstance(event, RunFinished):
                    return

        heard, task = threading.Event(), asyncio.create_task(listed(cp.watch("1")))
        thread = threading.Thread(target=hear)
        thread.start()
        while len(listeners_of(cp).known) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
        cp.run({}, run_id="1")
        assert heard.wait(PATIENCE)
        thread.join(PATIENCE)
        cp.drain()
        return await task

    assert asyncio.run(cells()) == live == WORDS


async def test_submitted(place: Path) -> None:
    """Watchers hear of runs that are submitted in this process, too."""
    cp = make_flow(place)
    watch = cp.watch()
    await cp.asubmit({}, run_id="1")
    event = await anext(watch)
    assert isinstance(event, RunSubmitted)
    assert event.run_id == "1"
    watch.close()


def test_copies(place: Path) -> None:
    """A copied flow shares the watchers. A deep copy and a pickled one have none."""
    cp = make_flow(place)
    with cp.watch() as watch:
        copied = copy.copy(cp)
        copied.run({}, run_id="1")
        assert isinstance(next(watch), RunStarted)
        assert listeners_of(copied).known == listeners_of(cp).known
        assert listeners_of(copy.deepcopy(cp)).known == {}
        bare = CheckpointFlow(place / "bare.pkl")
        with bare.watch():
            assert listeners_of(pickle.loads(pickle.dumps(bare))).known == {}


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_no_copy(place: Path, duplicate: Callable[[Watch], object]) -> None:
    """A watcher is not copied or pickled, and goes on where that was tried."""
    cp = make_flow(place)
    with cp.watch() as watch:
        with pytest.raises(InvalidTypeError, match=r"this process\. Call watch\(\)"):
            duplicate(watch)
        cp.run({}, run_id="1")
        assert word_of(next(watch)) == "RunStarted"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_forked_child(place: Path) -> None:
    """In a forked child a watcher of the parent has ended, and the child's own hears its runs."""
    cp = make_flow(place)
    with cp.watch() as watch:
        cp.run({}, run_id="1")
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                own = cp.watch()
                known = len(listeners_of(cp).known)
                cp.run({}, run_id="2")
                of_parent = list(watch)
                cp.drain()
                heard = [word_of(one) for one in own]
                code = 0 if (known, of_parent, heard) == (1, [], WORDS) else 2
            os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert [word_of(next(watch)) for _ in WORDS] == WORDS


def test_signal_handler(place: Path) -> None:
    """The handler of a signal may emit an event in the midst of the delivery of another."""
    cp = make_flow(place)
    submitted = list[str]()

    def submit(*_: object) -> None:
        submitted.append(f"submitted-{len(submitted)}")
        cp.submit({}, run_id=submitted[-1])

    def hook(event: Event) -> None:
        if isinstance(event, StepStarted):
            signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, submit)
    listeners_of(cp).add(hook)
    try:
        with cp.watch() as watch:
            with interrupted_often(watch):
                cp.run({}, run_id="1")
            cp.drain()
            words = [word_of(event) for event in watch]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [word for word in words if word != "RunSubmitted"] == WORDS
    assert words.count("RunSubmitted") == len(submitted) > len(WORDS)


@contextlib.contextmanager
def interrupted_often(watch: Watch) -> Generator[None]:
    """Let a signal come while the watcher holds its lock, at each event of the run."""
    lock = watch._lock  # noqa: SLF001

    class Interrupted:
        def __enter__(self) -> None:
            lock.acquire()
            if not self.inside:
                self.inside = True
                signal.raise_signal(signal.SIGTERM)
                self.inside = False

        def __exit__(self, *_: object) -> None:
            lock.release()

        inside = False

    watch._lock = Interrupted()  # type: ignore[assignment] # noqa: SLF001
    try:
        yield
    finally:
        watch._lock = lock  # noqa: SLF001


def test_many_threads(place: Path) -> None:
    """Runs in many threads beside slow watchers: each event is given, or counted as dropped."""
    hooked, totals = list[Event](), list[int]()
    cp = make_flow(place, hooks=[hooked.append])

    def hear(watch: Watch) -> None:
        total = 0
        for event in watch:
            total += event.count if isinstance(event, EventsDropped) else 1
        totals.append(total)

    watchers = [threading.Thread(target=hear, args=(cp.watch(size=n),)) for n in (1, 5, 1000)]
    runners = [
        threading.Thread(target=lambda n=n: [cp.run({}, run_id=f"{n}-{i}") for i in range(15)])
        for n in range(4)
    ]
    for thread in [*watchers, *runners]:
        thread.start()
    for thread in runners:
        thread.join()
    cp.drain()
    for thread in watchers:
        thread.join(PATIENCE)
    assert totals == [len(hooked)] * 3


def test_bad_arguments(place: Path) -> None:
    """Bad arguments are refused at the call."""
    cp = make_flow(place)
    for kind, given in (
        (InvalidTypeError, {"run_id": 1}),
        (InvalidValueError, {"run_id": ""}),
        (InvalidTypeError, {"size": "7"}),
        (InvalidTypeError, {"size": True}),
        (InvalidValueError, {"size": 0}),
        (InvalidTypeError, {"until_end": 1}),
    ):
        arguments: dict[str, Any] = given
        with pytest.raises(kind):
            cp.watch(**arguments)
    assert listeners_of(cp).known == {}
