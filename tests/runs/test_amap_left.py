"""`amap` and `aresume_all` left early: what was under way is cancelled, and can be resumed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from blocking_flow import LAST, BlockingFlow, alone, collect, statuses
from interrupts import WAYS, Gate, this_task
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
    """A map of five runs, three at a time, of which the first three wait in b.

    Attributes:
        blocking_flow: Where they wait.
        cp: Their flow.
        closed: Whether the source of the pairs was closed.
    """

    def __init__(self, runs: Runs) -> None:
        """Begin nothing yet."""
        self.blocking_flow = BlockingFlow()
        self.cp = self.blocking_flow.flow(runs)
        self.closed = False

    def results(self) -> Stream[RunResult]:
        """Make the map; only its first run needs not wait."""
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
        """See that what was under way was cancelled, is free, and ends as undisturbed."""
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
    """When the block ends, everything has been cancelled, and the rest was never begun."""
    blocked_map = BlockedMap(runs)
    async with aclosing(blocked_map.results()) as results:
        await take_one(results, blocked_map)
    assert statuses(blocked_map.cp, IDS[4:]) == [None]
    await blocked_map.check_left()


async def test_error_in_the_loop(runs: Runs) -> None:
    """The error of the loop's own body comes out when everything has been cancelled."""
    blocked_map = BlockedMap(runs)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with aclosing(blocked_map.results()) as results:
            await take_one(results, blocked_map)
            assert 1 // 0
    await blocked_map.check_left()


async def test_break(runs: Runs) -> None:
    """Without a block for it, everything is cancelled as soon as the loop is over."""
    blocked_map = BlockedMap(runs)
    async for result in blocked_map.results():
        assert result.run_id == IDS[0]
        await blocked_map.blocking_flow.arrivals(2)
        break
    await alone()
    await blocked_map.check_left()


async def test_cancelled(runs: Runs) -> None:
    """When the task of the loop is cancelled, it ends when everything has been."""
    blocked_map, began = BlockedMap(runs), asyncio.Event()

    async def loop() -> None:
        async for _ in blocked_map.results():
            began.set()

    task = asyncio.create_task(loop())
    await began.wait()
    await blocked_map.blocking_flow.arrivals(
        3
    )  # the loop has gone on, so that there is room for a fourth run
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await blocked_map.check_left()


async def map_all(cp: CheckpointFlow) -> object:
    """Map one run."""
    return await collect(cp.amap({"x": {}}))


async def resume_all(cp: CheckpointFlow) -> object:
    """Resume one run, which was stopped before."""
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
    """However the loop is cancelled, it waits for a sync step under way, and stores the run."""
    blocking_flow = BlockingFlow(gate=Gate(blocks=True))
    cp, gate = blocking_flow.flow(database), blocking_flow.gate
    assert gate is not None
    if loop is resume_all:
        await cp.arun({}, run_id="x", until="a")

    async def start() -> object:
        return await loop(cp)

    await WAYS[way](gate, start)
    assert gate.passed.is_set()
    assert statuses(cp, "x") == ["cancelled"]
    assert (await cp.arun(run_id="x")) == LAST


async def test_step_that_cancels_its_task(runs: Runs) -> None:
    """A step that cancels the task that it runs in ends its own run alone, as a result."""
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
    """To close what has come to its end, or was closed, does nothing."""
    results = database.flow("a").amap({"x": {}})
    assert len([one async for one in results]) == 1
    await results.aclose()
    await results.aclose()
    assert [one.status for one in await database.flow().aruns()] == ["finished"]
