"""A slow write is cancelled and another run starts at once: the later write persists."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from interrupts import PATIENCE
from random_cancels import cancel_large_writes, check_last_stays

from aiocheckpoint import CheckpointFlow, LocalStateHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

    Start = Callable[[], Coroutine[Any, Any, object]]


class Slow:
    """A value whose pickling is slow.

    Attributes:
        begun: Set when the pickling begins.
        cancelled: Set by the test when the write is cancelled. The pickling ends soon after.
    """

    def __init__(self) -> None:
        """Start unpickled."""
        self.begun, self.cancelled = threading.Event(), threading.Event()

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Unpickle as a string."""
        self.begun.set()
        assert self.cancelled.wait(PATIENCE)
        time.sleep(0.05)
        return str, ("slow",)


async def begun(value: Slow) -> None:
    """Wait until the write of a value has begun."""
    assert await asyncio.to_thread(value.begun.wait, PATIENCE)


async def when_begun(value: Slow, stop: Callable[[], None]) -> None:
    """Cancel the write of a value by `stop` once it has begun."""
    await begun(value)
    stop()
    await asyncio.sleep(0)
    value.cancelled.set()


async def cancel(value: Slow, start: Start) -> None:
    """Cancel the task three times."""
    task = asyncio.create_task(start())
    await begun(value)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    value.cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def time_out(value: Slow, start: Start) -> None:
    """Let a timeout expire."""
    with pytest.raises(TimeoutError):  # noqa: PT012
        async with asyncio.timeout(None) as timeout:
            cancelling = when_begun(value, lambda: timeout.reschedule(0.0))
            asyncio.create_task(cancelling).add_done_callback(lambda task: task.result())
            await start()


async def leave_scope(value: Slow, start: Start) -> None:
    """Cancel an anyio scope."""
    with anyio.CancelScope() as scope:
        cancelling = when_begun(value, scope.cancel)
        asyncio.create_task(cancelling).add_done_callback(lambda task: task.result())
        await start()
    assert scope.cancelled_caught


WAYS: dict[str, Callable[[Slow, Start], Awaitable[None]]] = {
    "cancelled": cancel,
    "timed-out": time_out,
    "scope": leave_scope,
}


def starts(what: str, path: Path, slow: Slow) -> tuple[Start, Start]:
    """Return two ways to store a value by the same means: a slow write, and a write of 1."""
    values: list[object] = [slow, 1]
    cp = CheckpointFlow(path)
    cp.add_step(name="put")(lambda state: state.update(value=values.pop(0)))
    if what == "arun":
        return cp.arun, lambda: cp.arun(checkpoint="put")
    return lambda: cp.handler.awrite({"value": slow}), lambda: cp.handler.awrite({"value": 1})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", ["arun", "awrite"])
async def test_next_write_stays(what: str, way: str, tmp_path: Path) -> None:
    """A write made right after a slow one was cancelled is not overwritten by it."""
    slow = Slow()
    first, second = starts(what, tmp_path / "c.pkl", slow)
    await WAYS[way](slow, first)
    assert LocalStateHandler(tmp_path / "c.pkl").read()["value"] == "slow"
    await second()
    check_last_stays(tmp_path / "c.pkl", 1)


@pytest.mark.parametrize("what", ["arun", "awrite"])
def test_next_write_stays_after_a_closed_loop(what: str, tmp_path: Path) -> None:
    """A write made right after a loop was closed during a slow one is not overwritten by it."""
    slow, tasks = Slow(), list[asyncio.Task[object]]()
    first, second = starts(what, tmp_path / "c.pkl", slow)

    async def main() -> None:
        tasks.append(asyncio.create_task(first()))
        await begun(slow)
        slow.cancelled.set()

    asyncio.run(main())
    assert tasks[0].cancelled()
    asyncio.run(second())
    check_last_stays(tmp_path / "c.pkl", 1)


def test_large_state_cancelled_at_random(tmp_path: Path) -> None:
    """Cancelled at a random time, a large snapshot never overwrites that of the next run."""
    cancel_large_writes(tmp_path / "c.pkl", 10, random.Random(5))  # noqa: S311
