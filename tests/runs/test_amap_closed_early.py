"""`amap` and `aresume_all` left early cancel their running runs, which can be resumed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from blocking_flow import LAST, BlockingFlow, alone, collect, statuses
from interrupts import WAYS, Latch, this_task
from run_factories import resumed

from aiocheckpoint import RunResult, current_step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from blocking_flow import Pair
    from run_factories import Runs
    from support import State

    from aiocheckpoint import CheckpointFlow
    from aiocheckpoint._runs.streams import Stream

MORE_WAYS = ("task-cancel-five-times", "anyio-move-on", "timeout-both", "anyio-sibling", "wait-for")
IDS = [f"run-{number}" for number in range(5)]


class BlockedMap:
    """A map of five runs, three at a time. The first three wait in b.

    Attributes:
        blocking_flow: Holds the runs in b.
        cp: Their flow.
        closed: Whether the source of the pairs was closed.
    """

    def __init__(self, runs: Runs) -> None:
        """Start nothing yet."""
        self.blocking_flow = BlockingFlow()
        self.cp = self.blocking_flow.flow(runs)
        self.closed = False

    def results(self) -> Stream[RunResult]:
        """Make the map. Only its first run does not wait."""
        return self.cp.amap(self._pairs(), limit=3)

    async def _pairs(self) -> AsyncIterator[Pair]:
        try:
            for number, run_id in enumerate(IDS):
                if number == 1:
                    await self.blocking_flow.arrivals(1)
                    self.blocking_flow.free.set()
                    self.blocking_flow.free = asyncio.Event()
                yield run_id, {}
        finally:
            self.closed = True

    async def check_left(self) -> None:
        """Check that the running runs were cancelled, are free, and end like undisturbed ones."""
        assert asyncio.all_tasks() == {this_task()}
        assert self.closed
        assert not self.blocking_flow.inside
        assert statuses(self.cp, IDS[:3]) == ["finished", "cancelled", "cancelled"]
        self.blocking_flow.free.set()
        found = await resumed(self.cp)
        assert set(IDS[1:3]) <= set(found)
        assert all(result.state == LAST for result in found.values())
        assert all(self.blocking_flow.times(run_id) == LAST["trail"] for run_id in IDS[:3])


async def take_one(results: AsyncIterator[RunResult], blocked_map: BlockedMap) -> None:
    """Take the first result, and wait until the next two runs wait."""
    assert (await anext(results)).run_id == IDS[0]
    await blocked_map.blocking_flow.arrivals(2)


async def test_aclosing(runs: Runs) -> None:
    """When the block ends, every running run has been cancelled, and no other was started."""
    blocked_map = BlockedMap(runs)
    async with aclosing(blocked_map.results()) as results:
        await take_one(results, blocked_map)
    assert statuses(blocked_map.cp, IDS[4:]) == [None]
    await blocked_map.check_left()


async def test_error_in_the_loop(runs: Runs) -> None:
    """The error of the loop's body is raised after every run has been cancelled."""
    blocked_map = BlockedMap(runs)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with aclosing(blocked_map.results()) as results:
            await take_one(results, blocked_map)
            assert 1 // 0
    await blocked_map.check_left()


async def test_break(runs: Runs) -> None:
    """Without `aclosing`, every run is cancelled right after the loop."""
    blocked_map = BlockedMap(runs)
    async for result in blocked_map.results():
        assert result.run_id == IDS[0]
        await blocked_map.blocking_flow.arrivals(2)
        break
    await alone()
    await blocked_map.check_left()


async def test_cancelled(runs: Runs) -> None:
    """When the task of the loop is cancelled, it ends after every run has been cancelled."""
    blocked_map, began = BlockedMap(runs), asyncio.Event()

    async def loop() -> None:
        async for _ in blocked_map.results():
            began.set()

    task = asyncio.create_task(loop())
    await began.wait()
    await blocked_map.blocking_flow.arrivals(
        3
    )  # the loop has taken a result, so that a fourth run can start
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await blocked_map.check_left()


async def map_all(cp: CheckpointFlow) -> object:
    """Map one run."""
    return await collect(cp.amap({"x": {}}))


async def resume_all(cp: CheckpointFlow) -> object:
    """Resume one stopped run."""
    return await resumed(cp)


@pytest.mark.parametrize(
    ("way", "loop"),
    [
        *((way, map_all) for way in MORE_WAYS),
        *((way, resume_all) for way in MORE_WAYS[:2]),
    ],
)
async def test_waits_for_threads(
    way: str, loop: Callable[[CheckpointFlow], Awaitable[object]], database: Runs
) -> None:
    """A cancelled loop waits for the running sync step, and stores the run."""
    blocking_flow = BlockingFlow(latch=Latch(blocks=True))
    cp, latch = blocking_flow.flow(database), blocking_flow.latch
    assert latch is not None
    if loop is resume_all:
        await cp.arun({}, run_id="x", until="a")

    async def start() -> object:
        return await loop(cp)

    await WAYS[way](latch, start)
    assert latch.passed.is_set()
    assert statuses(cp, "x") == ["cancelled"]
    assert (await cp.arun(run_id="x")) == LAST


async def test_step_that_cancels_its_task(runs: Runs) -> None:
    """A step that cancels its own task ends its own run only, as a result."""
    cp = runs.empty_flow()

    @cp.add_step()
    async def leave(state: State) -> None:
        if current_step().run_id == "leaves":
            this_task().cancel("enough")
        await asyncio.sleep(0)

    found = await collect(cp.amap({"leaves": {}, "x": {}, "y": {}}))
    assert isinstance(found["leaves"].error, asyncio.CancelledError)
    assert [found[one].error for one in "xy"] == [None, None]
    assert statuses(cp, ["leaves", "x", "y"]) == ["cancelled", "finished", "finished"]
    assert this_task().cancelling() == 0


async def test_closed_twice_and_behind_the_end(database: Runs) -> None:
    """Closing a closed or exhausted stream does nothing."""
    results = database.flow("a").amap({"x": {}})
    assert len([one async for one in results]) == 1
    await results.aclose()
    await results.aclose()
    assert [one.status for one in await database.flow().aruns()] == ["finished"]
