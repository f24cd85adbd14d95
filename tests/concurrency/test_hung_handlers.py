"""A handler of dicts that hangs keeps neither its run nor the process once a drain gave it up."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest
from locations import program

from aiocheckpoint import CheckpointFlow
from aiocheckpoint.testing import MemoryStateHandler

PATIENCE = 60.0
WAYS = (
    ("AsyncWrite", "before"),
    ("AwaitableWrite", "at the end"),
    ("AsyncRead", "at the end"),
    ("SyncWrite", "before"),
)


def test_the_process_ends() -> None:
    """After a drain it ends, whenever the run is cancelled. Nothing hangs a second time."""
    script = str(program("hanging_handler_script.py"))
    ends = [
        subprocess.Popen([sys.executable, script, *words], stdout=subprocess.PIPE, text=True)
        for words in WAYS
    ]
    for end in ends:
        lines = end.communicate(timeout=PATIENCE)[0].splitlines()
        assert lines[-1] == "the program is over"
        assert "asyncio.exceptions.CancelledError 1" in lines


class Slow:
    """A handler whose async `write` takes as long as a test says.

    Attributes:
        stored: What is stored.
        begun: Set when a write has begun.
        goes_on: Lets it go on.
    """

    def __init__(self) -> None:
        """Make an empty one."""
        self.stored: dict[str, Any] = {}
        self.begun, self.goes_on = asyncio.Event(), asyncio.Event()

    def read(self) -> dict[str, Any]:
        """Give it."""
        return dict(self.stored)

    async def write(self, state: dict[str, Any]) -> None:
        """Wait, and store."""
        self.begun.set()
        await self.goes_on.wait()
        self.stored = state


def one_step(handler: Slow) -> CheckpointFlow:
    """Make a flow of one step."""
    cp = CheckpointFlow("c.pkl", handler=handler)
    cp.add_step(name="a")(lambda state: state.update(a=1))
    return cp


async def test_waited_for_until_a_drain() -> None:
    """A begun write is waited for. When a drain has given it up, `wait_for` ends."""
    handler = Slow()
    cp = one_step(handler)
    run = asyncio.create_task(cp.arun({}))
    await handler.begun.wait()
    task = asyncio.create_task(asyncio.wait_for(run, 0.01))
    assert not (await asyncio.wait([task], timeout=0.1))[0]
    assert await cp.adrain(0) == [None]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(task, PATIENCE)
    assert handler.stored == {}


async def test_a_slow_write_behind_a_drain() -> None:
    """A write that ends within a second is stored, although the drain gave it up."""
    handler = Slow()
    cp = one_step(handler)
    task = asyncio.create_task(cp.arun({"n": 1}))
    await handler.begun.wait()
    assert await cp.adrain(0) == [None]
    task.cancel()
    asyncio.get_running_loop().call_later(0.05, handler.goes_on.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert handler.stored["n"] == 1


async def test_a_plain_cancellation() -> None:
    """After a drain, the cancelled run of a hung step raises no private kind of exception."""
    begun, goes_on = threading.Event(), threading.Event()
    cp = CheckpointFlow("hung", handler=MemoryStateHandler)

    @cp.add_step(name="hang")
    def hang(state: dict[str, Any]) -> None:
        begun.set()
        goes_on.wait(PATIENCE)

    task = asyncio.create_task(cp.arun({}))
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    assert await cp.adrain(0) == [None]
    task.cancel("over")
    with pytest.raises(asyncio.CancelledError, match="over") as info:
        await task
    goes_on.set()
    assert info.type is asyncio.CancelledError
    assert info.value.__suppress_context__
    assert "'hang'" in "".join(info.value.__notes__)
