"""A sync step that hangs: exit waits for it, unless its flow was drained."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from locations import program

from aiocheckpoint._concurrency.step_threads import StepThreads
from aiocheckpoint._concurrency.threads import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = program("hung_script.py")
PATIENCE = 20.0
SLOW = 1.0


def lines_of(way: str) -> list[str]:
    """Run the script to its end, and give the lines that it prints."""
    command = [sys.executable, str(SCRIPT), way, str(SLOW if way == "waits" else 10 * PATIENCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    return done.stdout.splitlines()


def test_exit_waits_for_a_running_step() -> None:
    """Without a drain the process ends when the step has."""
    assert lines_of("waits") == ["the step begins", "the program is over", "the step ends"]


@pytest.mark.parametrize("way", ["cancelled", "left", "late", "block", "drain"])
def test_exit_after_a_drain(way: str) -> None:
    """After a drain, a hung step keeps neither its task nor the process. Its run stays owned."""
    owned = ["the run is owned"] if way == "late" else []
    assert lines_of(way) == ["the step begins", "left: [None]", *owned, "the program is over"]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Give an event that lets hung functions end, set at the latest when the test ends."""
    made = threading.Event()
    yield made
    made.set()


@pytest.mark.parametrize("order", ["cancelled first", "abandoned first"])
async def test_cancellation_of_an_abandoned_call(order: str, gate: threading.Event) -> None:
    """A cancellation does not wait for an abandoned call, whichever comes first."""
    steps, begun = StepThreads(1), threading.Event()

    def hang() -> None:
        begun.set()
        gate.wait(PATIENCE)

    task = asyncio.create_task(run_in_thread(steps, hang))
    await asyncio.to_thread(begun.wait, PATIENCE)
    if order == "cancelled first":
        task.cancel()
        await asyncio.wait([task], timeout=0.05)
        assert not task.done()
        steps.abandon()
    else:
        steps.abandon()
        await asyncio.wait([task], timeout=0.05)
        assert not task.done()
        task.cancel()
    await asyncio.wait([task], timeout=PATIENCE)
    assert task.cancelled()


@pytest.mark.parametrize("has_threads", [True, False], ids=["old loop", "new loop"])
async def test_call_behind_abandon(has_threads: bool, gate: threading.Event) -> None:  # noqa: FBT001
    """A cancellation waits for no call that begins after `abandon`, on any loop."""
    steps, begun = StepThreads(1), threading.Event()
    if has_threads:
        await run_in_thread(steps, int)
    steps.abandon()

    def hang() -> None:
        begun.set()
        gate.wait(PATIENCE)

    task = asyncio.create_task(run_in_thread(steps, hang))
    await asyncio.to_thread(begun.wait, PATIENCE)
    task.cancel()
    await asyncio.wait([task], timeout=PATIENCE / 4)
    assert task.cancelled()
    assert not gate.is_set()


async def test_abandoned_call_that_ends(gate: threading.Event) -> None:
    """A call that ends after all gives its result to a task that was not cancelled."""
    steps = StepThreads(1)
    task = asyncio.create_task(run_in_thread(steps, gate.wait, PATIENCE))
    await asyncio.sleep(0.01)
    steps.abandon()
    await asyncio.sleep(0.01)
    gate.set()
    assert await task
    assert await run_in_thread(steps, int) == 0
