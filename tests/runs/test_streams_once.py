"""A stream yields its items once, to one loop. An unused stream leaves nothing behind."""

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
    """A second loop, or an `await` after a loop, raises StreamConsumedError and runs nothing."""
    stream = flows.flow("a").astream({})
    assert [one async for one in stream] == flows.events
    with pytest.raises(StreamConsumedError, match="only once"):
        aiter(stream)
    with pytest.raises(StreamConsumedError):
        await stream
    assert flows.ran() == ["a"]


async def test_awaited_twice(flows: FlowFactory) -> None:
    """So does a loop, or a second `await`, after an `await`."""
    stream = flows.flow("a").astream({})
    assert await stream == flows.events
    with pytest.raises(StreamConsumedError):
        await stream
    with pytest.raises(StreamConsumedError):  # noqa: PT012
        async for _ in stream:
            pytest.fail("there is nothing to give")


async def test_second_loop_during_the_first(runs: Runs) -> None:
    """The second task that loops over one stream is refused. The first one gets every item."""
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
    """`anext` returns one item at a time, and a loop then yields the rest."""
    stream = flows.flow("a").astream({})
    assert isinstance(await anext(stream), RunStarted)
    rest = [event async for event in stream]
    assert isinstance(rest[-1], RunFinished)
    assert [flows.events[0], *rest] == flows.events
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_closed_before_it_began(flows: FlowFactory) -> None:
    """A stream that is closed unused yields nothing, and has run nothing."""
    stream = flows.flow("a").astream({})
    await stream.aclose()
    await stream.aclose()
    assert [event async for event in stream] == []
    assert (flows.log, flows.files()) == ([], {})


async def test_closed_behind_its_end(flows: FlowFactory) -> None:
    """Closing an exhausted stream changes nothing."""
    stream = flows.flow("a").astream({})
    assert len(await stream) > 0
    await stream.aclose()
    assert flows.header().status == "finished"


async def test_closed_in_the_middle_by_itself(runs: Runs) -> None:
    """`aclose` between two `anext` cancels the run, and no more items come."""
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
    """An unused stream or map runs nothing when it is collected, and warns of nothing."""
    cp = flows.flow("a")
    cp.astream({})
    cp.amap({"x": {}})
    gc.collect()
    await turns(3)
    await alone()
    assert (flows.log, flows.files()) == ([], {})


async def test_iterator_dropped_unused(flows: FlowFactory) -> None:
    """The same holds for a stream whose iterator was made."""
    aiter(flows.flow("a").astream({}))
    gc.collect()
    await alone()
    assert (flows.log, flows.files()) == ([], {})
