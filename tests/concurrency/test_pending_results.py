"""Those who wait for jobs are told, on whatever loop or in whatever thread they wait."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from aiocheckpoint._concurrency.pending_results import PendingResult, deliver

QUIET = settings(deadline=None, max_examples=40)
BLOCKED = 8
WAITING = st.lists(st.sampled_from(["one", "two", "thread"]), min_size=1, max_size=200)


async def wait_all(jobs: list[PendingResult[int]], gathered: threading.Barrier) -> dict[int, int]:
    """Wait for jobs of the running loop, and give their results."""
    await asyncio.to_thread(gathered.wait)
    for job in jobs:
        await job.future
    return {job.work: job.outcome() for job in jobs}


def wait_on(
    loop: asyncio.AbstractEventLoop, jobs: list[PendingResult[int]], gathered: threading.Barrier
) -> dict[int, int]:
    """Run a loop whose task waits for its jobs."""
    mine = [job for job in jobs if job.loop is loop]
    found = loop.run_until_complete(wait_all(mine, gathered))
    loop.run_until_complete(loop.shutdown_default_executor())
    return found


def wait_here(jobs: list[PendingResult[int]], gathered: threading.Barrier) -> dict[int, int]:
    """Block this thread for one job after the other."""
    gathered.wait()
    return {job.work: job.wait() for job in jobs}


@QUIET
@given(WAITING)
def test_everybody_is_told(waiting: list[str]) -> None:
    """Jobs of two loops and of blocked threads all end, each with its own result."""
    loops = {name: asyncio.new_event_loop() for name in ("one", "two")}
    jobs: list[PendingResult[int]] = [
        PendingResult(number, loops.get(name)) for number, name in enumerate(waiting)
    ]
    for job in jobs:
        job.result = -job.work
    blocked = [job for job in jobs if job.loop is None]
    gathered = threading.Barrier(2 + BLOCKED + 1)
    with ThreadPoolExecutor(2 + BLOCKED) as pool:
        found = [pool.submit(wait_on, loop, jobs, gathered) for loop in loops.values()]
        shares = [blocked[number::BLOCKED] for number in range(BLOCKED)]
        found += [pool.submit(wait_here, share, gathered) for share in shares]
        gathered.wait()
        deliver(jobs)
        results = [each.result() for each in found]
    for loop in loops.values():
        loop.close()
    told = {number: result for each in results for number, result in each.items()}
    assert told == {number: -number for number in range(len(jobs))}


def test_a_closed_loop_keeps_nobody_waiting() -> None:
    """Where a loop was closed, those who wait elsewhere are told all the same."""
    closed, blocked = asyncio.new_event_loop(), PendingResult[int](2, None)
    jobs = [PendingResult[int](1, closed), blocked]
    closed.close()
    deliver(jobs)
    assert blocked.wait() is blocked.result
    assert blocked.ended
