"""Runs cancelled at random times in random ways, until one comes to its end all the same."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

import anyio
from interrupts import PATIENCE, check_nothing_comes_after
from suspension_points import LOOPS, NAMES, Subject

from aiocheckpoint import CheckpointFlow, LocalStateHandler
from aiocheckpoint._concurrency.threads import SNAPSHOTS
from aiocheckpoint.events import StepFinished

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

    Way = Callable[[Coroutine[Any, Any, object], float], Awaitable[bool]]

LONGEST = 0.0005
LARGE = 4_000_000
POOL_SIZE = 4


def cancelled(times: int) -> Way:
    """Cancel the task, so often."""

    async def way(run: Coroutine[Any, Any, object], seconds: float) -> bool:
        task = asyncio.create_task(run)
        for _ in range(times):
            await asyncio.wait([task], timeout=seconds / times)
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or task.result()
        return task.cancelled()

    return way


async def timed_out(run: Coroutine[Any, Any, object], seconds: float) -> bool:
    """Let `asyncio.timeout` expire."""
    try:
        async with asyncio.timeout(seconds):
            await run
    except TimeoutError:
        return True
    return False


async def waited_for(run: Coroutine[Any, Any, object], seconds: float) -> bool:
    """Let `asyncio.wait_for` lose its patience."""
    try:
        await asyncio.wait_for(run, seconds)
    except TimeoutError:
        return True
    return False


async def with_failing_sibling(run: Coroutine[Any, Any, object], seconds: float) -> bool:
    """Let another task of an `asyncio.TaskGroup` fail."""

    async def fail() -> None:
        await asyncio.sleep(seconds)
        raise ValueError("sibling")

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            runs.append(tasks.create_task(run))
            tasks.create_task(fail())

    # In a task of its own, because Python 3.11 leaves its count of cancellations raised.
    runs: list[asyncio.Task[object]] = []
    ended = asyncio.create_task(group())
    await asyncio.wait([ended])
    assert isinstance(ended.exception(), ExceptionGroup)
    return runs[0].cancelled()


async def scoped(run: Coroutine[Any, Any, object], seconds: float) -> bool:
    """Let an anyio scope end."""
    with anyio.move_on_after(seconds) as scope:
        await run
    return scope.cancelled_caught


WAYS: dict[str, Way] = {
    "once": cancelled(1),
    "twice": cancelled(2),
    "five-times": cancelled(5),
    "timeout": timed_out,
    "wait-for": waited_for,
    "sibling": with_failing_sibling,
    "scope": scoped,
}


def cancel_until_it_ends(subject: Subject, loop: str, way: str, rng: random.Random) -> int:
    """Give runs more and more time until they are cancelled; see each resume the one before.

    Returns:
        How many were cancelled.
    """

    async def attempt(seconds: float) -> bool:
        before = asyncio.all_tasks()
        was_cancelled = await WAYS[way](subject.arun(), seconds)
        await check_nothing_comes_after()
        assert asyncio.all_tasks() == before
        return was_cancelled

    for number in itertools.count():
        done = subject.position()
        subject.ran.clear()
        with LOOPS[loop]() as runner:
            was_cancelled = runner.run(attempt(rng.random() * LONGEST * number))
        assert subject.ran == [*NAMES[done:]][: len(subject.ran)]
        assert subject.position() >= done + max(0, len(subject.ran) - 1)
        if subject.position() == len(NAMES):
            return number
        assert was_cancelled
    raise AssertionError


def cancel_large_writes(path: Path, times: int, rng: random.Random) -> None:
    """Cancel runs in the middle of a large snapshot, and at once begin another that is quick.

    Goes on until so many were cancelled while it was written, and finds out how long that takes.
    """
    interrupted, longest = 0, 0.1
    for number in itertools.count():
        in_snapshot = asyncio.run(cancel_large_write(path, number, rng.random() * longest))
        check_last_stays(path, number)
        interrupted += in_snapshot
        longest *= 1.1 if in_snapshot else 0.8
        if interrupted == times:
            break


async def cancel_large_write(path: Path, number: int, seconds: float) -> bool:
    """Cancel so late in a snapshot, and begin at once; tell whether it was in the snapshot."""
    writing = asyncio.Event()
    cp = large_flow(path, writing, [os.urandom(LARGE), number])
    task = asyncio.create_task(cp.arun(checkpoint="put"))
    await writing.wait()
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.wait([task])
    header = LocalStateHandler(path).header()
    await cp.arun(checkpoint="put")
    assert header is not None
    return header.failure is not None and header.failure.part == "snapshot"


def large_flow(path: Path, writing: asyncio.Event, values: list[object]) -> CheckpointFlow:
    """Make a flow that puts the next value into its state, and tells when it stores it."""

    def hook(event: object) -> None:
        if isinstance(event, StepFinished):
            writing.set()

    cp = CheckpointFlow(path, fsync=False, hooks=[hook])
    cp.add_step(name="put")(lambda state: state.update(value=values.pop(0)))
    cp.add_step(name="end")(lambda state: None)
    return cp


def check_last_stays(path: Path, value: object) -> None:
    """See that a value is stored, and still is when no thread writes any more."""
    handler = LocalStateHandler(path)
    assert handler.read()["value"] == value
    # Each thread of the pool takes one, so that all of them have ended what they did before.
    together = threading.Barrier(POOL_SIZE, timeout=PATIENCE)
    wait([SNAPSHOTS.submit(together.wait) for _ in range(POOL_SIZE)])
    assert not together.broken
    assert handler.read()["value"] == value
