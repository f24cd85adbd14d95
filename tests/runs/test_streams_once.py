"""A stream gives things once, to one loop; and one that nobody begins leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest
from interrupts import turns
from serving import LAST, Post, alone

from aiocheckpoint import StreamConsumedError
from aiocheckpoint.events import RunFinished, RunStarted

if TYPE_CHECKING:
    from many import Runs
    from support import Lab


async def test_looped_over_twice(lab: Lab) -> None:
    """A second loop, or an `await` behind a loop, says that it comes too late; nothing runs."""
    stream = lab.flow("a").astream({})
    assert [one async for one in stream] == lab.events
    with pytest.raises(StreamConsumedError, match="only once"):
        aiter(stream)
    with pytest.raises(StreamConsumedError):
        await stream
    assert lab.ran() == ["a"]


async def test_awaited_twice(lab: Lab) -> None:
    """So does a loop, or a second `await`, behind an `await`."""
    stream = lab.flow("a").astream({})
    assert await stream == lab.events
    with pytest.raises(StreamConsumedError):
        await stream
    with pytest.raises(StreamConsumedError):  # noqa: PT012
        async for _ in stream:
            pytest.fail("there is nothing to give")


async def test_second_loop_while_the_first_goes_on(runs: Runs) -> None:
    """The second of two tasks that loop over one stream is refused; the first misses nothing."""
    post = Post()
    stream = post.flow(runs).astream({}, run_id="x")

    async def loop() -> int:
        return len([event async for event in stream])

    one = asyncio.create_task(loop())
    await post.arrivals(1)
    with pytest.raises(StreamConsumedError):
        await loop()
    post.free.set()
    assert await one == 2 + 3 * 3 + 1


async def test_one_by_one(lab: Lab) -> None:
    """`anext` gives one thing at a time, and a loop then goes on with the rest."""
    stream = lab.flow("a").astream({})
    assert isinstance(await anext(stream), RunStarted)
    rest = [event async for event in stream]
    assert isinstance(rest[-1], RunFinished)
    assert [lab.events[0], *rest] == lab.events
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_closed_before_it_began(lab: Lab) -> None:
    """A stream that is closed unused gives nothing, and has run nothing."""
    stream = lab.flow("a").astream({})
    await stream.aclose()
    await stream.aclose()
    assert [event async for event in stream] == []
    assert (lab.log, lab.files()) == ([], {})


async def test_closed_behind_its_end(lab: Lab) -> None:
    """To close what has come to its end changes nothing."""
    stream = lab.flow("a").astream({})
    assert len(await stream) > 0
    await stream.aclose()
    assert lab.header().status == "finished"


async def test_closed_in_the_middle_by_itself(runs: Runs) -> None:
    """`aclose` between two `anext` cancels the run, and no more comes."""
    post = Post()
    cp = post.flow(runs)
    stream = cp.astream({}, run_id="x")
    await anext(stream)
    await post.arrivals(1)
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert cp.handler.header("x").status == "cancelled"
    post.free.set()
    assert await cp.arun(run_id="x") == LAST


async def test_dropped_unused(lab: Lab) -> None:
    """A stream or map that is made and dropped runs nothing, and warns of nothing."""
    cp = lab.flow("a")
    cp.astream({})
    cp.amap({"x": {}})
    gc.collect()
    await turns(3)
    await alone()
    assert (lab.log, lab.files()) == ([], {})


async def test_iterator_dropped_unused(lab: Lab) -> None:
    """The same holds for one whose iterator was asked for."""
    aiter(lab.flow("a").astream({}))
    gc.collect()
    await alone()
    assert (lab.log, lab.files()) == ([], {})
