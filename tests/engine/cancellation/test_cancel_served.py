"""A cancellation at every point of suspension of runs with retries, limits, pauses and streams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from interrupts import check_nothing_comes_after, this_task
from piercing import LOOPS, MOMENTS, warm_uvloop
from served import DOORS, strike_everywhere

if TYPE_CHECKING:
    from pathlib import Path

    from served import Served, Strike

LONG = [pytest.mark.torture, pytest.mark.timeout(1200)]
STRIDES = [9, pytest.param(1, marks=LONG)]
every_door = pytest.mark.parametrize("door", DOORS)
both_strides = pytest.mark.parametrize("stride", STRIDES)


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    warm_uvloop()


def cancelled(moment: str, times: int = 1) -> Strike:
    """Cancel the task, so often in a row."""

    async def strike(served: Served, number: int) -> int:
        async def body() -> None:
            cancel = this_task().cancel
            points = range(number, number + times)
            await served.struck_at(points, lambda waiting: MOMENTS[moment](cancel, waiting))

        task = asyncio.create_task(body())
        await asyncio.wait([task])
        assert task.cancelled() == bool(served.points.struck)
        return served.points.struck

    return strike


async def scoped(served: Served, number: int) -> int:
    """Cancel an anyio scope."""
    with anyio.CancelScope() as scope:
        await served.struck_at([number], lambda _: scope.cancel())
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught == bool(served.points.struck)
    await check_nothing_comes_after()
    return served.points.struck


async def timed_out(served: Served, number: int) -> int:
    """Let `asyncio.timeout` expire."""
    caught = False
    try:
        async with asyncio.timeout(None) as timeout:
            await served.struck_at([number], lambda _: timeout.reschedule(0.0))
    except TimeoutError:
        caught = True
    assert caught == timeout.expired() == bool(served.points.struck)
    await check_nothing_comes_after()
    return served.points.struck


async def with_failing_sibling(served: Served, number: int) -> int:
    """Let another task of an `asyncio.TaskGroup` fail."""
    failing = asyncio.Event()

    async def sibling() -> None:
        await failing.wait()
        raise LookupError

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            other = tasks.create_task(sibling())
            await served.struck_at([number], lambda _: failing.set())
            if not served.points.struck:
                other.cancel()

    # In a task of its own, because Python 3.11 leaves its count of cancellations raised.
    task = asyncio.create_task(group())
    await asyncio.wait([task])
    assert isinstance(task.exception(), ExceptionGroup) == bool(served.points.struck)
    return served.points.struck


STRIKES: dict[str, Strike] = {
    "next-turn": cancelled("next-turn"),
    "as-it-wakes": cancelled("as-it-wakes"),
    "twice": cancelled("at-once", 2),
    "scope": scoped,
    "timeout": timed_out,
    "sibling": with_failing_sibling,
}


@every_door
def test_cancelled_at_every_point(door: str, tmp_path: Path) -> None:
    """Wherever it is cancelled, a step boundary is stored, and the rest is done the next time."""
    strike_everywhere(tmp_path, door, "plain", cancelled("at-once"))


@both_strides
@pytest.mark.parametrize("way", STRIKES)
@every_door
def test_other_ways(door: str, way: str, stride: int, tmp_path: Path) -> None:
    """However it is cancelled, the same holds, and no other cancellation comes after."""
    strike_everywhere(tmp_path, door, "plain", STRIKES[way], stride)


@pytest.mark.torture
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", STRIKES)
@every_door
def test_other_loops(door: str, way: str, loop: str, tmp_path: Path) -> None:
    """On every kind of event loop the same holds."""
    strike_everywhere(tmp_path, door, loop, STRIKES[way])
