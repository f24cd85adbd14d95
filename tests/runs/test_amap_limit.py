"""`amap` holds at most `limit` runs, for any speed of the source and the loop."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from blocking_flow import BlockingFlow, collect, pairs_of, statuses
from interrupts import turns
from run_factories import PATIENCE, first

from aiocheckpoint.events import RunFinished

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from blocking_flow import Pair
    from run_factories import Runs
    from support import State

    from aiocheckpoint.events import Event

LONG = 50
"""Turns of the loop in which much would happen that is not held up."""


class Counted:
    """A source of pairs that counts the pairs taken and the states still alive.

    Attributes:
        taken: How many pairs were taken.
        living: How many of the states are still referenced.
    """

    def __init__(self, number: int) -> None:
        """Set the number of pairs."""
        self.taken = 0
        self.living = 0
        self._number = number

    async def pairs(self) -> AsyncGenerator[Pair, None]:
        """Yield the pairs."""
        for number in range(self._number):
            self.taken += 1
            yield f"run-{number}", self._state(number)

    def _state(self, number: int) -> Kept:
        state = Kept(n=number)
        self.living += 1
        weakref.finalize(state, self._died).atexit = False
        return state

    def _died(self) -> None:
        self.living -= 1


class Kept(dict[str, Any]):
    """A state that supports weak references."""


@pytest.mark.parametrize("limit", [1, 3])
async def test_never_more_at_once(limit: int, runs: Runs) -> None:
    """At most `limit` runs are running at once, and the source is asked for no more pairs."""
    blocking_flow, source = BlockingFlow(), Counted(7)
    cp = blocking_flow.flow(runs)
    task = asyncio.create_task(collect(cp.amap(source.pairs(), limit=limit)))
    for _ in range(2):
        await blocking_flow.arrivals(limit)
        await turns(LONG)
        assert (len(blocking_flow.inside), source.taken % limit) == (limit, 0)
        blocking_flow.free.set()
        blocking_flow.free.clear()
        await turns(1)
    blocking_flow.free.set()
    assert len(await task) == source.taken == 7
    assert blocking_flow.most == limit


async def test_slow_loop(runs: Runs) -> None:
    """Results that wait for the loop count towards the limit of pairs taken."""
    source, ended = Counted(20), asyncio.Semaphore(0)

    def hook(event: Event) -> None:
        if isinstance(event, RunFinished):
            ended.release()

    cp = runs.empty_flow(hooks=[hook])
    cp.add_step(name="only", thread=False)(lambda state: None)
    async with aclosing(cp.amap(source.pairs(), limit=4)) as results:
        await first(results)
        for _ in range(4):
            await ended.acquire()
        await turns(LONG)
        assert source.taken == 4
        await first(results)
        await ended.acquire()
        assert source.taken == 5


async def test_the_result_in_hand_counts(runs: Runs) -> None:
    """After n results, at most n - 1 + limit pairs have been taken from the source."""
    source, seen = Counted(12), 0
    cp = runs.flow("a")
    async for _ in cp.amap(source.pairs(), limit=3):
        seen += 1
        await turns(LONG)
        assert source.taken <= seen - 1 + 3
    assert seen == source.taken == 12


async def test_slow_source(runs: Runs) -> None:
    """Results come while the source waits before its next pair."""
    more = asyncio.Event()

    async def source() -> AsyncGenerator[Pair, None]:
        yield "early", {}
        await more.wait()
        yield "late", {}

    results = aiter(runs.flow("a").amap(source()))
    assert (await first(results)).run_id == "early"
    more.set()
    assert (await first(results)).run_id == "late"
    assert [one async for one in results] == []


def sync_source(error: Exception) -> Iterator[Pair]:
    """Yield two pairs, then raise."""
    yield "x", {}
    yield "y", {}
    raise error


async def async_source(error: Exception) -> AsyncGenerator[Pair, None]:
    """Do the same."""
    async for pair in pairs_of({"x": {}, "y": {}}):
        yield pair
    raise error


@pytest.mark.parametrize("source", [sync_source, async_source])
async def test_source_that_raises(source: Callable[[Exception], Any], runs: Runs) -> None:
    """The running runs end with their results. Then the source's own error is raised."""
    blocking_flow, error, found = (
        BlockingFlow(),
        ConnectionError("the queue is gone"),
        list[str | None](),
    )
    cp = blocking_flow.flow(runs)

    async def loop() -> None:
        async for result in cp.amap(source(error)):
            assert result.status == "finished"
            found.append(result.run_id)

    task = asyncio.create_task(loop())
    await blocking_flow.arrivals(2)
    await turns(LONG)
    assert not task.done()
    blocking_flow.free.set()
    with pytest.raises(ConnectionError) as info:
        await task
    assert info.value is error
    assert set(found) == {"x", "y"}
    assert statuses(cp, "xy") == ["finished"] * 2


async def test_source_that_raises_at_once(database: Runs) -> None:
    """With no run running, the source's error is raised at once."""

    def source() -> Iterator[Pair]:
        yield from ((str(1 // n), {}) for n in range(2))

    with pytest.raises(ZeroDivisionError):
        await database.flow("a").amap(source())


@pytest.mark.parametrize("slow", [False, True], ids=["fast", "slow"])
async def test_memory_is_bounded(slow: bool, database: Runs) -> None:  # noqa: FBT001
    """The limit bounds how many of a thousand states are alive. None is alive at the end."""
    count, limit, most = 1_000, 10, 0
    source = Counted(count)
    cp = database.empty_flow()
    cp.add_step(name="only", thread=False)(do_nothing)
    async for result in cp.amap(source.pairs(), limit=limit):
        assert result.error is None
        most = max(most, source.living)
        await turns(LONG if slow and source.taken % 10 == 0 else 0)
    del result
    assert source.taken == count
    # The limit, the current result, and the states that the writer thread released a little late.
    assert most <= limit + 1 + limit
    async with asyncio.timeout(PATIENCE):
        while source.living:  # noqa: ASYNC110 - garbage collection has no event
            await asyncio.sleep(0.001)


def do_nothing(state: State) -> None:
    """Do nothing."""
