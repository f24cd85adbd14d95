"""A cancellation at every point of suspension of a run, one after another."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from interrupts import check_nothing_comes_after, this_task
from suspension_points import (
    FEWEST_POINTS,
    LOOPS,
    MOMENTS,
    NAMES,
    UNDISTURBED,
    AwaitInterrupter,
    Subject,
    at_point,
    check_left,
    check_resumes,
    outcome_of,
    warm_uvloop,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


every_loop = pytest.mark.parametrize("loop", LOOPS)
every_moment = pytest.mark.parametrize("moment", MOMENTS)
every_loop_and_moment = pytest.mark.parametrize(
    ("loop", "moment"),
    [
        (loop, moment)
        for loop in LOOPS
        for moment in MOMENTS
        # The debug mode is slow, and differs by its checks, which are the same at each moment.
        if loop != "debug" or moment == "at-once"
    ],
)
every_kind = pytest.mark.parametrize("kind", ["coroutines", "threads", "own"])


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    warm_uvloop()


def for_every_point(
    loop: str, tmp_path: Path, kind: str, attempt: Callable[[Subject, int], Awaitable[int]]
) -> None:
    """Make an attempt for each point until none is left, and check the stored run after each."""
    for number in itertools.count(1):
        place = tmp_path / str(number)
        subject = Subject(place / "checkpoint.pkl", kind)
        with at_point(number), LOOPS[loop]() as runner:
            interrupted = runner.run(checked(subject, attempt(subject, number)))
            if not interrupted:
                break
            check_left(subject)
            check_resumes(subject, runner)
    assert number > FEWEST_POINTS


async def checked(subject: Subject, attempt: Awaitable[int]) -> int:
    """Make an attempt, and check that no task outlives it."""
    before = asyncio.all_tasks()
    interrupted = await attempt
    assert asyncio.all_tasks() == before
    return interrupted


@every_loop_and_moment
@every_kind
def test_cancelled_at_every_point(kind: str, moment: str, loop: str, tmp_path: Path) -> None:
    """A task cancelled at any point ends as cancelled, and the next run resumes."""

    async def attempt(subject: Subject, number: int) -> int:
        interrupter, task = await outcome_of(subject.arun(), [number], MOMENTS[moment])
        assert task.cancelled() == bool(interrupter.interrupted)
        return interrupter.interrupted

    for_every_point(loop, tmp_path, kind, attempt)


@pytest.mark.parametrize("times", [2, 5])
@every_kind
def test_cancelled_again_and_again(kind: str, times: int, tmp_path: Path) -> None:
    """A task cancelled at one point and at every later one ends as cancelled, once."""

    async def attempt(subject: Subject, number: int) -> int:
        points = range(number, number + times)
        interrupter, task = await outcome_of(subject.arun(), points, MOMENTS["at-once"])
        assert task.cancelled() == bool(interrupter.interrupted)
        assert task.cancelling() == interrupter.interrupted
        return interrupter.interrupted

    for_every_point("plain", tmp_path, kind, attempt)


@every_loop
@every_kind
def test_anyio_scope_cancelled_at_every_point(kind: str, loop: str, tmp_path: Path) -> None:
    """An anyio scope cancelled at any point catches it once, and the next run resumes."""

    async def attempt(subject: Subject, number: int) -> int:
        with anyio.CancelScope() as scope:
            interrupter = AwaitInterrupter(subject.arun(), [number], lambda _: scope.cancel())
            await interrupter
            await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught == bool(interrupter.interrupted)
        await check_nothing_comes_after()
        return interrupter.interrupted

    for_every_point(loop, tmp_path, kind, attempt)


@every_loop
def test_timeout_at_every_point(loop: str, tmp_path: Path) -> None:
    """`asyncio.timeout` raises TimeoutError at whatever point it expires, and nothing follows."""

    async def attempt(subject: Subject, number: int) -> int:
        timed_out = False
        try:
            async with asyncio.timeout(None) as timeout:
                interrupter = AwaitInterrupter(
                    subject.arun(), [number], lambda _: timeout.reschedule(0.0)
                )
                await interrupter
        except TimeoutError:
            timed_out = True
        assert timed_out == timeout.expired() == bool(interrupter.interrupted)
        await check_nothing_comes_after()
        return interrupter.interrupted

    for_every_point(loop, tmp_path, "coroutines", attempt)


@every_moment
@every_kind
def test_failure_and_cancellation_together(kind: str, moment: str, tmp_path: Path) -> None:
    """If a step fails while its task is cancelled, neither is lost.

    Either the step's exception is raised or the cancellation. In the first case the cancellation is
    raised at the task's next await.
    """

    async def attempt(subject: Subject, number: int) -> int:
        async def body() -> object:
            failed = False
            try:
                return await subject.arun()
            except ValueError:
                failed = True
            assert failed
            await asyncio.sleep(0)
            return "went on"

        subject.failing.add("b")
        interrupter, task = await outcome_of(body(), [number], MOMENTS[moment])
        subject.failing.clear()
        if task.cancelled():
            return interrupter.interrupted
        assert task.result() == "went on"
        assert not interrupter.interrupted, "the cancellation is lost"
        return 0

    for_every_point("plain", tmp_path, kind, attempt)


@pytest.mark.parametrize("seed", range(12))
@every_kind
def test_cancelled_at_random_until_it_ends(kind: str, seed: int, tmp_path: Path) -> None:
    """Runs cancelled any number of times at random points end like an undisturbed run."""
    rng = random.Random(seed)  # noqa: S311
    subject = Subject(tmp_path / "checkpoint.pkl", kind)

    async def attempts() -> Any:  # noqa: ANN401 - a state
        for _ in range(200):
            times = rng.choice([1, 2, 5])
            points = rng.sample(range(1, 80), times)
            moment = rng.choice([*MOMENTS.values()])
            done = subject.position()
            subject.ran.clear()
            interrupter, task = await outcome_of(subject.arun(), points, moment)
            assert subject.ran == [*NAMES[done % 3 :]][: len(subject.ran)]
            if not task.cancelled():
                return task.result()
            assert interrupter.interrupted
            if subject.position() == len(NAMES):
                return {"trail": [*NAMES]}
        raise AssertionError("no run ever ended")

    assert asyncio.run(attempts()) == UNDISTURBED


@pytest.mark.parametrize("seed", range(5))
async def test_cancelled_at_random_times(seed: int, tmp_path: Path) -> None:
    """Runs cancelled after any length of time finish in the end."""
    rng = random.Random(seed)  # noqa: S311
    subject = Subject(tmp_path / "checkpoint.pkl", "threads")
    for attempt in itertools.count():
        task = asyncio.create_task(subject.arun())
        await asyncio.wait([task], timeout=rng.random() * 0.0005 * attempt)
        task.cancel()
        await asyncio.wait([task])
        if subject.position() == len(NAMES):
            break
        assert task.cancelled()
    assert this_task().cancelling() == 0
