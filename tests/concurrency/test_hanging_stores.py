"""A store that hangs holds up no other, and a cancelled run does not wait for its turn in it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hanging_stores import Hanging, HangingFiles, HangingStore, hung_flow
from locations import program

from aiocheckpoint import CheckpointFlow, RunInProgressError
from aiocheckpoint._concurrency import giving_up, stalls
from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
from aiocheckpoint._concurrency.threads import SNAPSHOTS
from aiocheckpoint.handlers._store_threads import threads_of
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support import State

SOON = 0.1
PATIENCE = 20.0
RUNS = [f"r{number}" for number in range(8)]


@pytest.fixture(autouse=True)
def soon_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let threads count as stalled after a shorter time."""
    monkeypatch.setattr(giving_up, "_STALL_SECONDS", 3 * SOON)


@pytest.fixture
def store() -> Iterator[HangingStore]:
    """Give a store that can hang, and goes on at the latest when the test ends."""
    made = HangingStore()
    yield made
    made.goes_on.set()


@pytest.fixture(params=["memory", "files"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hanging]:
    """Do the same for each kind of threads."""
    made = HangingStore() if request.param == "memory" else HangingFiles(tmp_path / "runs")
    yield made
    made.goes_on.set()


async def scoped(store: Hanging, cp: CheckpointFlow, run: str) -> State:
    """Do a run in a scope of anyio's, and give an empty state if that was cancelled."""
    with anyio.CancelScope() as store.scopes[run]:
        return await cp.arun({}, run_id=run)
    return {}


async def eight_hang(store: Hanging, cp: CheckpointFlow) -> dict[str, asyncio.Task[State]]:
    """Begin eight runs, and let the store hang while each stores the end of its first step."""
    store.gate = asyncio.Event()
    tasks = {run: asyncio.create_task(scoped(store, cp, run)) for run in RUNS}
    await store.arrivals(len(RUNS))
    store.goes_on.clear()
    store.gate.set()
    await store.hangs(4)
    return tasks


async def test_flow_on_files_beside_a_store_that_hangs(store: HangingStore, tmp_path: Path) -> None:
    """A flow on local files goes on beside eight runs whose store hangs."""
    tasks = await eight_hang(store, hung_flow(store))
    local = CheckpointFlow(tmp_path / "runs/", fsync=False)
    local.add_step(name="a")(lambda state: state.update(a=1))
    for number in range(20):
        assert await asyncio.wait_for(local.arun({}, run_id=str(number)), PATIENCE) == {"a": 1}
    assert len(await local.aruns()) == 20
    assert not any(task.done() for task in tasks.values())
    store.goes_on.set()
    assert all(state["last"] for state in await asyncio.gather(*tasks.values()))


@pytest.mark.parametrize("way", ["wait_for", "cancel", "scope"])
async def test_cancelled_in_the_queue(any_store: Hanging, way: str) -> None:
    """A run whose snapshot no thread has begun ends though the store hangs, and writes nothing."""
    store = any_store
    cp = hung_flow(store)
    tasks = await eight_hang(store, cp)
    queued = next(run for run in RUNS if run not in store.hanging)
    await asyncio.wait_for(ended(tasks[queued], store.scopes[queued], way), PATIENCE)
    assert not store.goes_on.is_set()
    store.goes_on.set()
    del tasks[queued]
    await asyncio.gather(*tasks.values())
    assert (await cp.arun(run_id=queued, wait=PATIENCE))["last"]
    assert store.wrote[queued] == ["running", "running", "finished"]


async def ended(task: asyncio.Task[State], scope: anyio.CancelScope, way: str) -> None:
    """Cancel a run, and wait for its end."""
    if way == "scope":
        scope.cancel()
        assert await task == {}
        return
    if way == "wait_for":
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task, SOON)
    else:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert task.cancelled()


async def test_run_that_waits_for_its_lock(any_store: Hanging) -> None:
    """A run that no thread has given its lock ends at once, and holds none."""
    cp = hung_flow(any_store)
    tasks = await eight_hang(any_store, cp)
    for run in ("new", "r0"):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(cp.arun({}, run_id=run), SOON)
    any_store.goes_on.set()
    await asyncio.gather(*tasks.values())
    assert (await cp.arun({}, run_id="new"))["last"]


async def test_failed_step_of_a_store_that_hangs(store: HangingStore) -> None:
    """A failure that cannot be recorded comes out of a cancelled run, with a note on that."""
    store.fails = "r7"
    tasks = await eight_hang(store, hung_flow(store))
    task = tasks.pop("r7")
    assert not (await asyncio.wait([task], timeout=SOON))[0]
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as info:
        await asyncio.wait_for(task, PATIENCE)
    assert isinstance(info.value.__cause__, ConnectionError)
    assert "does not answer" in "".join(info.value.__cause__.__notes__)
    store.goes_on.set()
    await asyncio.gather(*tasks.values())


async def test_cancelled_behind_a_drain(store: HangingStore) -> None:
    """A drained flow waits for no write that hangs. Its run stays owned, the others are free."""
    cp = hung_flow(store)
    tasks = await eight_hang(store, cp)
    assert sorted(map(str, await cp.adrain(timeout=SOON))) == RUNS
    for task in tasks.values():
        task.cancel()
    await asyncio.wait_for(asyncio.wait(tasks.values()), PATIENCE)
    hanging = {*store.hanging}
    assert len(hanging) == 4
    store.goes_on.set()
    next_flow = hung_flow(store)
    for run in RUNS:
        if run in hanging:
            with pytest.raises(RunInProgressError):
                await next_flow.arun(run_id=run)
        else:
            assert (await next_flow.arun(run_id=run, wait=PATIENCE))["last"]


async def test_busy_store_that_gets_on(
    store: HangingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled runs wait for their turn where the store gets on, and all are recorded."""
    monkeypatch.setattr(giving_up, "_STALL_SECONDS", PATIENCE)
    cp = hung_flow(store)
    tasks = await eight_hang(store, cp)
    for task in tasks.values():
        task.cancel()
    await asyncio.sleep(SOON)
    store.goes_on.set()
    await asyncio.wait(tasks.values())
    assert {header.status for header in await cp.aruns()} == {"cancelled"}
    assert all(cp.handler.read(run)["first"] for run in RUNS)


class Dicts:
    """A user's own handler, whose `write` hangs until it may go on."""

    def __init__(self, path: object) -> None:
        """Store nothing yet."""
        self.state: State = {}
        self.begun, self.goes_on = threading.Event(), threading.Event()

    def read(self) -> State:
        """Read."""
        return self.state

    def write(self, state: State) -> None:
        """Write."""
        self.begun.set()
        self.goes_on.wait(PATIENCE)
        self.state = state


async def test_handlers_of_dicts_have_threads_of_their_own(tmp_path: Path) -> None:
    """Five handlers of dicts that hang keep neither a sixth nor local files from going on."""
    hanging = [Dicts(number) for number in range(5)]
    tasks = [asyncio.create_task(one_step(handler).arun({})) for handler in hanging]
    for handler in hanging:
        assert await asyncio.to_thread(handler.begun.wait, PATIENCE)
    sixth = Dicts(6)
    sixth.goes_on.set()
    assert await asyncio.wait_for(one_step(sixth).arun({}), PATIENCE) == {"a": 1}
    assert await asyncio.wait_for(one_step(tmp_path / "c.pkl").arun({}), PATIENCE) == {"a": 1}
    for handler in hanging:
        handler.goes_on.set()
    assert await asyncio.gather(*tasks) == [{"a": 1}] * 5


def one_step(handler: Any) -> CheckpointFlow:  # noqa: ANN401 - a handler or a path
    """Make a flow of one step."""
    own = isinstance(handler, Dicts)
    cp = CheckpointFlow("c.pkl", handler=handler) if own else CheckpointFlow(handler)
    cp.add_step(name="a")(lambda state: state.update(a=1))
    return cp


async def test_cancelled_write_of_dicts_is_noted(tmp_path: Path) -> None:
    """A cancellation waits for a `write` under way, and the next run begins behind it."""
    handler = Dicts("x")
    handler.goes_on.set()
    cp = one_step(handler)
    cp.add_step(name="b")(lambda state: state.update(b=1))
    await cp.arun({}, until="a")
    handler.begun.clear()
    handler.goes_on.clear()
    task = asyncio.create_task(cp.arun())
    assert await asyncio.to_thread(handler.begun.wait, PATIENCE)
    task.cancel()
    assert not (await asyncio.wait([task], timeout=SOON))[0]
    handler.goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert handler.state["b"] == 1
    with pytest.raises(RunInProgressError):
        await asyncio.gather(cp.arun({}), cp.arun({}))


def test_whose_threads(tmp_path: Path) -> None:
    """Local files share their threads. Any other handler object has its own."""
    local, other = (CheckpointFlow(tmp_path / name).handler for name in ("a.pkl", "b/"))
    assert threads_of(local) is threads_of(other) is SNAPSHOTS
    one, two = MemoryStateHandler(), MemoryStateHandler()
    database = CheckpointFlow(tmp_path / "c.db", "sqlite").handler
    assert len({*map(id, map(threads_of, (local, one, two, database)))}) == 4
    assert threads_of(one) is threads_of(one)


def test_exit_with_a_store_that_hangs() -> None:
    """After a drain, a store that hangs keeps neither its runs nor the process from ending."""
    command = [sys.executable, str(program("hanging_store_script.py"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout.splitlines() == ["left: 8", "the program is over"]


def test_threads_that_go_on_are_not_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a stall counts from the last call that ended."""
    threads, now = DaemonThreads("test", 1), [0.0]
    monkeypatch.setattr(f"{stalls.__name__}.time.monotonic", lambda: now[0])
    watch = stalls.StallWatch(threads)
    for _ in range(5):
        now[0] += 2 * SOON
        threads.calls_ended += 1
        assert watch.seconds_left() == pytest.approx(3 * SOON)
    now[0] += 2 * SOON
    assert watch.seconds_left() == pytest.approx(SOON)
    now[0] += SOON
    assert watch.seconds_left() == 0.0
