"""A cancellation at every point of suspension of runs with retries, limits, pauses and streams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from interrupts import check_nothing_comes_after, this_task
from service_flow import RUNNERS, interrupt_everywhere
from suspension_points import LOOPS, MOMENTS, warm_uvloop

if TYPE_CHECKING:
    from pathlib import Path

    from service_flow import Interrupt, ServiceFlow

LONG = [pytest.mark.torture, pytest.mark.timeout(1200)]
STRIDES = [9, pytest.param(1, marks=LONG)]
any_runner = pytest.mark.parametrize("method", RUNNERS)
both_strides = pytest.mark.parametrize("stride", STRIDES)


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    warm_uvloop()


def cancelled(moment: str, times: int = 1) -> Interrupt:
    """Cancel the task, a number of times in a row."""

    async def interrupt(served: ServiceFlow, number: int) -> int:
        async def body() -> None:
            cancel = this_task().cancel
            points = range(number, number + times)
            await served.interrupted_at(points, lambda waiting: MOMENTS[moment](cancel, waiting))

        task = asyncio.create_task(body())
        await asyncio.wait([task])
        assert task.cancelled() == bool(served.points.interrupted)
        return served.points.interrupted

    return interrupt


async def scoped(served: ServiceFlow, number: int) -> int:
    """Cancel an anyio scope."""
    with anyio.CancelScope() as scope:
        await served.interrupted_at([number], lambda _: scope.cancel())
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught == bool(served.points.interrupted)
    await check_nothing_comes_after()
    return served.points.interrupted


async def timed_out(served: ServiceFlow, number: int) -> int:
    """Let `asyncio.timeout` expire."""
    caught = False
    try:
        async with asyncio.timeout(None) as timeout:
            await served.interrupted_at([number], lambda _: timeout.reschedule(0.0))
    except TimeoutError:
        caught = True
    assert caught == timeout.expired() == bool(served.points.interrupted)
    await check_nothing_comes_after()
    return served.points.interrupted


async def with_failing_sibling(served: ServiceFlow, number: int) -> int:
    """Let another task of an `asyncio.TaskGroup` fail."""
    failing = asyncio.Event()

    async def sibling() -> None:
        await failing.wait()
        raise LookupError

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            other = tasks.create_task(sibling())
            await served.interrupted_at([number], lambda _: failing.set())
            if not served.points.interrupted:
                other.cancel()

    # In a task of its own, because Python 3.11 leaves its count of cancellations raised.
    task = asyncio.create_task(group())
    await asyncio.wait([task])
    assert isinstance(task.exception(), ExceptionGroup) == bool(served.points.interrupted)
    return served.points.interrupted


INTERRUPTS: dict[str, Interrupt] = {
    "next-turn": cancelled("next-turn"),
    "as-it-wakes": cancelled("as-it-wakes"),
    "twice": cancelled("at-once", 2),
    "scope": scoped,
    "timeout": timed_out,
    "sibling": with_failing_sibling,
}


@any_runner
def test_cancelled_at_every_point(method: str, tmp_path: Path) -> None:
    """A run cancelled at any point has stored a step boundary, and the next run does the rest."""
    interrupt_everywhere(tmp_path, method, "plain", cancelled("at-once"))


@both_strides
@pytest.mark.parametrize("way", INTERRUPTS)
@any_runner
def test_other_ways(method: str, way: str, stride: int, tmp_path: Path) -> None:
    """Other means of cancellation keep the same promise, and no second cancellation follows."""
    interrupt_everywhere(tmp_path, method, "plain", INTERRUPTS[way], stride)


@pytest.mark.torture
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", INTERRUPTS)
@any_runner
def test_other_loops(method: str, way: str, loop: str, tmp_path: Path) -> None:
    """Every kind of event loop keeps the same promise."""
    interrupt_everywhere(tmp_path, method, loop, INTERRUPTS[way])
