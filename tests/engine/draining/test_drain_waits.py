"""How long `adrain` waits and for which runs, and how runs stop between steps."""

from __future__ import annotations

import asyncio
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest
from blocking_flow import LAST, BlockingFlow, collect, statuses
from interrupts import turns
from run_factories import UNFINISHED, Runs, active_run
from support import notes_of

from aiocheckpoint import DrainingError, Retry, current_step, events
from aiocheckpoint._engine.active_runs import ActiveRuns

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

    from aiocheckpoint import CheckpointFlow
    from aiocheckpoint.events import Event

SOON = 0.01
PATIENCE = 20.0


async def stopped(task: asyncio.Task[State]) -> DrainingError:
    """Await a run that is stopped, and give its exception."""
    with pytest.raises(DrainingError) as info:
        await task
    return info.value


async def test_no_running_run(database: Runs) -> None:
    """If no run is stored, or all have ended, `adrain` waits for nothing."""
    cp = database.flow()
    await cp.arun({}, run_id="x")
    assert await cp.adrain() == []


async def test_time_is_over(runs: Runs) -> None:
    """`adrain` gives the ids of runs still in a step at its timeout. They stop later."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(runs)
    tasks = await blocking_flow.start(cp, "x", None)
    assert set(await cp.adrain(timeout=SOON)) == {"x", None}
    assert statuses(cp, ["x", None]) == ["running"] * 2
    blocking_flow.free.set()
    for task in tasks:
        await stopped(task)
    assert statuses(cp, ["x", None]) == ["stopped"] * 2
    assert blocking_flow.times("x") == ["a", "b"]


async def test_cancelled_when_the_time_is_over(database: Runs) -> None:
    """Runs left at the timeout can be cancelled, and resume like any other."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(database)
    (task,) = await blocking_flow.start(cp, "x")
    assert await cp.adrain(timeout=0) == ["x"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert statuses(cp, ["x"]) == ["cancelled"]
    blocking_flow.free.set()
    assert await blocking_flow.flow(database).arun(run_id="x") == LAST


async def test_time_is_not_waited_out(database: Runs) -> None:
    """`adrain` returns as soon as all runs have stopped, before its timeout."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(database)
    (task,) = await blocking_flow.start(cp, "x")
    drain = asyncio.create_task(cp.adrain(timeout=3_600))
    await turns(3)
    blocking_flow.free.set()
    assert await drain == []
    await stopped(task)


async def test_run_that_waits_for_its_turn(database: Runs) -> None:
    """A run that waits for the end of another run gives up. The other run is left alone."""
    cp = database.flow()
    with active_run(database.empty_flow(), "x"):
        task = asyncio.create_task(cp.arun(run_id="x", wait=3_600))
        await turns(3)
        assert await cp.adrain() == []
        assert (await stopped(task)).path is None
    assert statuses(cp, ["x"]) == ["finished"]
    assert database.log == []


async def test_run_that_waits_for_another_attempt(runs: Runs) -> None:
    """A run that waits between two attempts makes no further one. The next process does."""
    failed = asyncio.Event()

    def hook(event: Event) -> None:
        if isinstance(event, events.AttemptFailed):
            failed.set()

    cp, attempts = runs.empty_flow(hooks=[hook]), list[int]()

    @cp.add_step(name="a", retry=Retry(attempts=5, wait_initial=SOON, wait_jitter=0))
    async def fail_once(state: State) -> None:
        state["begun"] = True
        attempts.append(current_step().attempt)
        if len(attempts) == 1:
            raise ConnectionError("not yet")

    task = asyncio.create_task(cp.arun({}, run_id="x"))
    await failed.wait()
    assert await cp.adrain() == []
    assert (await stopped(task)).path == cp.handler.locate("x")
    assert (attempts, await cp.aread("x")) == ([1], {"checkpoint_index": 0})
    assert statuses(cp, ["x"]) == ["stopped"]
    again = runs.empty_flow()
    again.add_step(name="a")(fail_once)
    (result,) = (await collect(again.aresume_all(status=UNFINISHED))).values()
    assert (result.state, attempts) == ({"begun": True}, [1, 2])


async def held_at_its_start(cp: CheckpointFlow, free: asyncio.Event) -> asyncio.Task[State]:
    """Begin a run that a hook of its flow holds after its first snapshot."""
    task = asyncio.create_task(cp.arun({"who": "x"}, run_id="x"))
    while statuses(cp, ["x"]) == [None]:
        await turns(1)
    assert not free.is_set()
    return task


def holding(runs: Runs, free: asyncio.Event) -> CheckpointFlow:
    """Make a flow that holds a run between its first snapshot and its first step."""

    async def hook(event: Event) -> None:
        if isinstance(event, events.SnapshotWritten) and event.position == 0:
            await free.wait()

    cp = runs.empty_flow(hooks=[hook])
    for name in ("a", "b"):
        runs.add(cp, name)
    return cp


async def test_run_before_its_first_step(runs: Runs) -> None:
    """A run that has just begun stops before its first step, and resumes at it."""
    free = asyncio.Event()
    cp = holding(runs, free)
    task = await held_at_its_start(cp, free)
    assert await cp.adrain(timeout=0) == ["x"]
    free.set()
    assert (await stopped(task)).path == cp.handler.locate("x")
    assert (statuses(cp, ["x"]), runs.log) == (["stopped"], [])
    (result,) = (await collect(runs.flow("a", "b").aresume_all(status=UNFINISHED))).values()
    assert (result.status, runs.ran()) == ("finished", ["a", "b"])


async def noted(cp: CheckpointFlow) -> None:
    """Wait until a thread has noted beside the run that its owner drains."""
    async with asyncio.timeout(PATIENCE):
        while (record := cp.handler.ownership("x").record) is None or not record.drains:  # noqa: ASYNC110
            await asyncio.sleep(SOON)


@pytest.mark.leaves_files
async def test_storage_that_fails_at_the_stop(tmp_path: Path) -> None:
    """If the stop cannot be written, the run ends as drained, and its error says so."""
    durable_runs, free = Runs.at(tmp_path, "directory"), asyncio.Event()
    cp = holding(durable_runs, free)
    task = await held_at_its_start(cp, free)
    assert await cp.adrain(timeout=0) == ["x"]
    await noted(cp)
    shutil.rmtree(durable_runs.path)
    durable_runs.path.write_bytes(b"no directory")
    free.set()
    assert "it is not marked as stopped" in notes_of(await stopped(task))
    assert durable_runs.log == []


async def test_cancelled(database: Runs) -> None:
    """A cancelled `adrain` ends at once. The flow stays drained, and its runs still stop."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(database)
    (task,) = await blocking_flow.start(cp, "x")
    drain = asyncio.create_task(cp.adrain())
    await turns(3)
    drain.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drain
    with pytest.raises(DrainingError):
        await cp.arun({}, run_id="y")
    blocking_flow.free.set()
    assert (await stopped(task)).path is not None
    assert statuses(cp, ["x", "y"]) == ["stopped", None]


@pytest.mark.parametrize("method", ["coroutine", "thread"])
async def test_in_its_own_step(method: str, database: Runs) -> None:
    """A step cannot drain its own flow, which would wait for the step. The flow stays usable."""
    cp, seen = database.empty_flow(), list[str]()

    async def drain_itself(state: State) -> None:
        with pytest.raises(DrainingError, match="would wait for itself") as info:
            await cp.adrain()
        seen.append(str(info.value))

    def in_thread(state: State) -> None:
        asyncio.run(drain_itself(state))

    cp.add_step(name="own")(drain_itself if method == "coroutine" else in_thread)
    for run_id in "xy":
        await cp.arun({}, run_id=run_id)
    assert (len(seen), statuses(cp, "xy")) == (2, ["finished"] * 2)
    assert "step 'own'" in seen[0]


async def test_in_a_step_of_another_flow(database: Runs) -> None:
    """A step of another flow may drain this one."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(database)
    (task,) = await blocking_flow.start(cp, "x")
    other = database.empty_flow(name="other")

    @other.add_step()
    async def drain(state: State) -> None:
        asyncio.get_running_loop().call_soon(blocking_flow.free.set)
        state["left"] = await cp.adrain()

    assert (await other.arun({}, run_id="other"))["left"] == []
    await stopped(task)


async def test_nested_runs(database: Runs) -> None:
    """A step that waits for other runs of its flow gets their errors, and its run stops as well."""
    blocking_flow, came = BlockingFlow(), list[Any]()
    cp = blocking_flow.flow(database)

    async def divide(state: State) -> None:
        if current_step().run_id == "outer":
            came.extend(await asyncio.gather(cp.arun({}, run_id="inner"), return_exceptions=True))

    cp.add_step(name="a", replace=True)(divide)
    task = asyncio.create_task(cp.arun({}, run_id="outer"))
    assert await blocking_flow.arrivals(1) == {"inner"}
    drain = asyncio.create_task(cp.adrain())
    await turns(3)
    blocking_flow.free.set()
    assert await drain == []
    await stopped(task)
    assert [type(one) for one in came] == [DrainingError]
    assert statuses(cp, ["outer", "inner"]) == ["stopped"] * 2


class DrainedMeanwhile(ActiveRuns):
    """Active runs that another thread drains just after the check for a drain."""

    def check(self) -> None:
        """Check, and then drain."""
        super().check()
        thread = threading.Thread(target=self.request_drain)
        thread.start()
        thread.join()


async def test_drain_as_a_block_begins() -> None:
    """A drain that another thread requests as a block begins calls its callback."""
    called = asyncio.Event()
    with DrainedMeanwhile("flow", 1).on_drain(called.set):
        async with asyncio.timeout(PATIENCE):
            await called.wait()
