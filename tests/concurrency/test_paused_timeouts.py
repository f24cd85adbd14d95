"""Time limits of a step stand still while it waits for what is not its own."""

from __future__ import annotations

import asyncio

import pytest

from aiocheckpoint import StepTimeoutError
from aiocheckpoint._concurrency.timeouts import StepTimeout, paused_timeout, run_with_timeout

LIMIT = StepTimeout(0.05, "pay", "step")
LONG = 0.3


async def test_wait_is_no_part_of_it() -> None:
    """A wait that takes longer than the limit does not count, in tasks of the step neither."""

    async def wait() -> str:
        with paused_timeout():
            await asyncio.sleep(LONG)
        return "waited"

    async def work() -> str:
        waits = [asyncio.create_task(wait()) for _ in range(3)]
        return (await asyncio.gather(*waits, wait()))[0]

    assert await run_with_timeout(LIMIT, work()) == "waited"


@pytest.mark.parametrize("waits", [0, 1, 2])
async def test_rest_is(waits: int) -> None:
    """The time before and behind the wait counts, and the limit holds behind it."""

    async def work() -> None:
        for _ in range(waits):
            with paused_timeout():
                await asyncio.sleep(LIMIT.seconds)
        await asyncio.Event().wait()

    with pytest.raises(StepTimeoutError):
        await run_with_timeout(LIMIT, work())


async def test_wait_behind_the_limit() -> None:
    """A wait that begins as the time is over changes nothing, and one without a limit neither."""

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with paused_timeout():
                await asyncio.sleep(0)

    with pytest.raises(StepTimeoutError):
        await run_with_timeout(LIMIT, work())
    with paused_timeout():
        await asyncio.sleep(0)


async def test_task_that_outlives_the_call() -> None:
    """A wait in a task that the call has left behind harms nobody."""
    left: list[asyncio.Task[None]] = []

    async def wait() -> None:
        with paused_timeout():
            await asyncio.sleep(LIMIT.seconds)

    async def work() -> None:
        left.append(asyncio.create_task(wait()))
        await asyncio.sleep(0)

    await run_with_timeout(LIMIT, work())
    await left[0]
