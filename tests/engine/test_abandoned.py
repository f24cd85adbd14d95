"""A run's coroutine dropped in the middle: nothing stays locked, and the next run resumes."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from held_runs import HOLD_POINTS, HeldRun
from held_runs import check_resumes as check_scene_resumes
from suspension_points import (
    FEWEST_POINTS,
    AwaitInterrupter,
    Subject,
    at_point,
    check_left,
    check_resumes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

every_kind = pytest.mark.parametrize("kind", ["coroutines", "threads"])
ENOUGH = 3
both_times = pytest.mark.parametrize("cancelled", [False, True], ids=["untouched", "cancelled"])
THREADS = ["step-sync", "start-snapshot-begun", "snapshot-begun", "after-locking", "before-release"]


async def closed_when(
    is_time: Callable[[int], bool], coroutine: Coroutine[Any, Any, object]
) -> bool:
    """Drive a coroutine, and close it at the given time if it has not ended before."""
    for count in itertools.count(1):
        try:
            waiting = coroutine.send(None)
        except StopIteration:
            break
        while not is_time(count):
            await asyncio.sleep(0)
            if waiting is None or waiting.done():
                break
        else:
            coroutine.close()
            return True
    return False


def open_soon(held_run: HeldRun) -> None:
    """Open the latch from another thread, after a short time."""
    threading.Timer(0.05, held_run.latch.opened.set).start()


@every_kind
def test_closed_at_every_point(kind: str, tmp_path: Path) -> None:
    """A coroutine that is closed instead of awaited leaves the lock free, and the run resumable."""
    for number in itertools.count(1):
        subject = Subject(tmp_path / str(number) / "checkpoint.pkl", kind)
        with at_point(number), asyncio.Runner() as runner:
            if not runner.run(closed_when(number.__eq__, subject.arun())):
                break
            check_left(subject, abandoned=True)
            check_resumes(subject, runner)
    assert number > FEWEST_POINTS


@pytest.mark.parametrize("place", THREADS)
async def test_closed_while_a_thread_works(place: str, tmp_path: Path) -> None:
    """Closing the coroutine waits for the thread, so that nothing is written afterwards."""
    held_run = HeldRun(tmp_path / "checkpoint.pkl", HOLD_POINTS[place])

    def is_time(_: int) -> bool:
        held = held_run.latch.entered.is_set()
        if held:
            open_soon(held_run)
        return held

    assert await closed_when(is_time, held_run.start())
    assert held_run.latch.passed.is_set()
    await check_scene_resumes(held_run)


@pytest.mark.parametrize("place", THREADS)
@both_times
def test_loop_closed_while_a_thread_works(place: str, tmp_path: Path, *, cancelled: bool) -> None:
    """A loop closed during a run leaves nothing locked after the thread has ended."""
    held_run = HeldRun(tmp_path / "checkpoint.pkl", HOLD_POINTS[place])
    loop = asyncio.new_event_loop()
    task = loop.create_task(held_run.latch.watch(held_run.start))
    loop.run_until_complete(held_run.latch.reached())
    if cancelled:
        task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    open_soon(held_run)
    dropped = weakref.ref(task)
    del task
    collect(dropped)
    assert held_run.latch.passed.is_set()
    asyncio.run(check_scene_resumes(held_run))


@both_times
@every_kind
def test_loop_closed_at_every_point(kind: str, tmp_path: Path, *, cancelled: bool) -> None:
    """A loop closed during a run, even a run just cancelled, leaves the lock free."""
    passed_by = 0
    for number in itertools.count(1):
        subject = Subject(tmp_path / str(number) / "checkpoint.pkl", kind)
        with at_point(number):
            if not is_abandoned_at(number, subject, cancelled=cancelled):
                # If the thread was faster than the loop, a cancelled run ends without a wait.
                passed_by += 1
                if passed_by == ENOUGH:
                    break
                continue
            check_left(subject, abandoned=True)
            with asyncio.Runner() as runner:
                check_resumes(subject, runner)
    assert number > FEWEST_POINTS


def is_abandoned_at(number: int, subject: Subject, *, cancelled: bool) -> bool:
    """Stop and close the loop when the run suspends for the n-th time, and drop its task.

    With `cancelled`, the task is cancelled at the suspension before.
    """

    async def interrupter() -> object:
        task = asyncio.current_task()
        assert task is not None

        def action(_: object) -> None:
            if awaited.count == number:
                loop.stop()
            else:
                task.cancel()

        awaited = AwaitInterrupter(subject.arun(), {number - cancelled, number}, action)
        return await awaited

    loop = asyncio.new_event_loop()
    task: asyncio.Task[object] = loop.create_task(interrupter())
    task.add_done_callback(lambda _: loop.stop())
    loop.run_forever()
    abandoned = not task.done()
    if not abandoned and not task.cancelled():
        task.result()
    loop.close()
    dropped = weakref.ref(task)
    del task
    collect(dropped)
    return abandoned


def collect(dropped: weakref.ref[Any]) -> None:
    """Collect a task that nothing awaits, after the threads that refer to it have ended."""
    deadline = time.monotonic() + 20.0
    while dropped() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.001)
