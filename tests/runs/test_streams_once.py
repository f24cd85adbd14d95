"""A stream gives things once, to one loop; and one that nobody begins leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest
from blocking_flow import LAST, BlockingFlow, alone
from interrupts import turns

from aiocheckpoint import StreamConsumedError
from aiocheckpoint.events import RunFinished, RunStarted

if TYPE_CHECKING:
    from run_factories import Runs
    from support import FlowFactory


async def test_looped_over_twice(flows: FlowFactory) -> None:
    """A second loop, or an `await` behind a loop, says that it comes too late; nothing runs."""
    stream = flows.flow("a").astream({})
    assert [one async for one in stream] == flows.events
    with pytest.raises(StreamConsumedError, match="only once"):
        aiter(stream)
    with pytest.raises(StreamConsumedError):
        await stream
    assert flows.ran() == ["a"]


async def test_awaited_twice(flows: FlowFactory) -> None:
    """So does a loop, or a second `await`, behind an `await`."""
    stream = flows.flow("a").astream({})
    assert await stream == flows.events
    with pytest.raises(StreamConsumedError):
        await stream
    with pytest.raises(StreamConsumedError):  # noqa: PT012
        async for _ in stream:
            pytest.fail("there is nothing to give")


async def test_second_loop_while_the_first_goes_on(runs: Runs) -> None:
    """The second of two tasks that loop over one stream is refused; the first misses nothing."""
    blocking_flow = BlockingFlow()
    stream = blocking_flow.flow(runs).astream({}, run_id="x")

    async def loop() -> int:
        return len([event async for event in stream])

    one = asyncio.create_task(loop())
    await blocking_flow.arrivals(1)
    with pytest.raises(StreamConsumedError):
        await loop()
    blocking_flow.free.set()
    assert await one == 2 + 3 * 3 + 1


async def test_one_by_one(flows: FlowFactory) -> None:
    """`anext` gives one thing at a time, and a loop then goes on with the rest."""
    stream = flows.flow("a").astream({})
    assert isinstance(await anext(stream), RunStarted)
    rest = [event async for event in stream]
    assert isinstance(rest[-1], RunFinished)
    assert [flows.events[0], *rest] == flows.events
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_closed_before_it_began(flows: FlowFactory) -> None:
    """A stream that is closed unused gives nothing, and has run nothing."""
    stream = flows.flow("a").astream({})
    await stream.aclose()
    await stream.aclose()
    assert [event async for event in stream] == []
    assert (flows.log, flows.files()) == ([], {})


async def test_closed_behind_its_end(flows: FlowFactory) -> None:
    """To close what has come to its end changes nothing."""
    stream = flows.flow("a").astream({})
    assert len(await stream) > 0
    await stream.aclose()
    assert flows.header().status == "finished"


async def test_closed_in_the_middle_by_itself(runs: Runs) -> None:
    """`aclose` between two `anext` cancels the run, and no more comes."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(runs)
    stream = cp.astream({}, run_id="x")
    await anext(stream)
    await blocking_flow.arrivals(1)
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert cp.handler.header("x").status == "cancelled"
    blocking_flow.free.set()
    assert await cp.arun(run_id="x") == LAST


async def test_dropped_unused(flows: FlowFactory) -> None:
    """A stream or map that is made and dropped runs nothing, and warns of nothing."""
    cp = flows.flow("a")
    cp.astream({})
    cp.amap({"x": {}})
    gc.collect()
    await turns(3)
    await alone()
    assert (flows.log, flows.files()) == ([], {})


async def test_iterator_dropped_unused(flows: FlowFactory) -> None:
    """The same holds for one whose iterator was asked for."""
    aiter(flows.flow("a").astream({}))
    gc.collect()
    await alone()
    assert (flows.log, flows.files()) == ([], {})
