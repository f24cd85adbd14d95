"""Callers get pending results, whichever loop or thread they wait on."""

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


async def wait_all(
    results: list[PendingResult[int]], gathered: threading.Barrier
) -> dict[int, int]:
    """Wait for results of the running loop, and give them."""
    await asyncio.to_thread(gathered.wait)
    for pending in results:
        await pending.future
    return {pending.request: pending.outcome() for pending in results}


def wait_on(
    loop: asyncio.AbstractEventLoop, results: list[PendingResult[int]], gathered: threading.Barrier
) -> dict[int, int]:
    """Run a loop whose task waits for its results."""
    mine = [pending for pending in results if pending.loop is loop]
    found = loop.run_until_complete(wait_all(mine, gathered))
    loop.run_until_complete(loop.shutdown_default_executor())
    return found


def wait_here(results: list[PendingResult[int]], gathered: threading.Barrier) -> dict[int, int]:
    """Block this thread for one result after the other."""
    gathered.wait()
    return {pending.request: pending.wait() for pending in results}


@QUIET
@given(WAITING)
def test_every_caller_is_woken(waiting: list[str]) -> None:
    """Callers on two loops and in blocked threads all get their own results."""
    loops = {name: asyncio.new_event_loop() for name in ("one", "two")}
    pending: list[PendingResult[int]] = [
        PendingResult(number, loops.get(name)) for number, name in enumerate(waiting)
    ]
    for one in pending:
        one.result = -one.request
    blocked = [one for one in pending if one.loop is None]
    gathered = threading.Barrier(2 + BLOCKED + 1)
    with ThreadPoolExecutor(2 + BLOCKED) as pool:
        found = [pool.submit(wait_on, loop, pending, gathered) for loop in loops.values()]
        shares = [blocked[number::BLOCKED] for number in range(BLOCKED)]
        found += [pool.submit(wait_here, share, gathered) for share in shares]
        gathered.wait()
        deliver(pending)
        results = [each.result() for each in found]
    for loop in loops.values():
        loop.close()
    received = {number: result for each in results for number, result in each.items()}
    assert received == {number: -number for number in range(len(pending))}


def test_a_closed_loop_keeps_no_caller_waiting() -> None:
    """If one loop was closed, callers elsewhere are woken all the same."""
    closed, blocked = asyncio.new_event_loop(), PendingResult[int](2, None)
    results = [PendingResult[int](1, closed), blocked]
    closed.close()
    deliver(results)
    assert blocked.wait() is blocked.result
    assert blocked.ended
