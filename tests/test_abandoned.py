"""A run's coroutine thrown away in the middle: nothing stays locked, and the next run resumes."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from interrupts import PATIENCE, turns
from piercing import NAMES, Pierced, Subject
from scenes import PLACES, Scene, state_after
from test_cancel_everywhere import FEWEST_POINTS, at_point, check_left, check_resumes

if TYPE_CHECKING:
    from pathlib import Path

every_kind = pytest.mark.parametrize("kind", ["coroutines", "threads"])


@every_kind
def test_closed_at_every_point(kind: str, tmp_path: Path) -> None:
    """A coroutine that is closed instead of awaited on leaves the place free and resumable."""
    for number in itertools.count(1):
        subject = Subject(tmp_path / str(number) / "checkpoint.pkl", kind)
        with at_point(number), asyncio.Runner() as runner:
            if not runner.run(closed_at(number, subject)):
                break
            check_left(subject)
            check_resumes(subject, runner)
    assert number > FEWEST_POINTS


async def closed_at(number: int, subject: Subject) -> bool:
    """Close the coroutine of a run when it suspends for the n-th time."""
    coroutine = subject.arun()
    reached = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None
    pierced = Pierced(coroutine, [number], lambda _: reached.set())
    iterator = pierced.__await__()
    while True:
        try:
            waiting = iterator.send(None)
        except StopIteration:
            return False
        if reached.is_set():
            coroutine.close()
            return True
        await turns(1)
        if isinstance(waiting, asyncio.Future):
            waiting._asyncio_future_blocking = False
            await asyncio.wait([waiting])


@pytest.mark.parametrize("cancelled", [False, True], ids=["untouched", "cancelled-before"])
@every_kind
def test_loop_closed_at_every_point(
    kind: str, cancelled: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture  # noqa: FBT001
) -> None:
    """A loop that is closed under a run, also one just cancelled, leaves the place free."""
    for number in itertools.count(1):
        subject = Subject(tmp_path / str(number) / "checkpoint.pkl", kind)
        with at_point(number):
            if not abandoned_at(number, subject, cancelled=cancelled):
                break
            check_left(subject)
            with asyncio.Runner() as runner:
                check_resumes(subject, runner)
    assert number > FEWEST_POINTS
    assert {record.name for record in caplog.records} <= {"aiocheckpoint", "asyncio"}


def abandoned_at(number: int, subject: Subject, *, cancelled: bool) -> bool:
    """Stop and close the loop when the run suspends for the n-th time, and drop its task.

    With `cancelled`, the task is cancelled at the suspension before.
    """

    async def pierced() -> object:
        task = asyncio.current_task()
        assert task is not None
        points = {number} | ({number - 1} if cancelled else set())

        def blow(_: object) -> None:
            if piercings[0].count == number:
                loop.stop()
            else:
                task.cancel()

        piercings.append(Pierced(subject.arun(), points, blow))
        return await piercings[0]

    piercings: list[Pierced] = []
    loop = asyncio.new_event_loop()
    task: asyncio.Task[object] | None = loop.create_task(pierced())
    assert task is not None
    task.add_done_callback(lambda _: loop.stop())
    loop.run_forever()
    abandoned = not task.done()
    if not abandoned and not task.cancelled():
        task.result()
    loop.close()
    dropped = weakref.ref(task)
    del task
    piercings.clear()
    deadline = time.monotonic() + PATIENCE
    while dropped() is not None:  # work under way in a thread holds on to it until it ends
        gc.collect()
        assert time.monotonic() < deadline, "the task is never dropped"
        time.sleep(0.001)
    return abandoned
