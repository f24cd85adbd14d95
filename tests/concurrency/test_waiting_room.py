"""Waiting rooms: who is woken by what, on loops and in threads, and that no wake-up is lost."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest

from aiocheckpoint._concurrency.waiting_room import (
    Waiter,
    count_waiting,
    notify,
    wake_everyone,
)

PATIENCE = 60.0


def enter(key: str = "run", *, shares: bool = False) -> Waiter:
    """Enter a room as a caller that blocks its thread."""
    waiter = Waiter(key, shares=shares, loop=None)
    assert waiter.enter()
    return waiter


def woken(*waiters: Waiter) -> list[bool]:
    """Which callers were woken."""
    return [waiter.ended for waiter in waiters]


def test_news_for_all_that_share_it() -> None:
    """News wakes all callers that share it, and of the others the first."""
    sharing, turns, other = [enter(shares=True) for _ in range(3)], [enter(), enter()], enter("x")
    notify("run", "finished")
    assert (woken(*sharing), [one.result for one in sharing]) == ([True] * 3, ["finished"] * 3)
    assert (woken(*turns, other), turns[0].result) == ([True, False, False], None)
    assert (count_waiting("run"), count_waiting("x")) == (1, 1)
    assert (turns[1].leave(), other.leave()) == (True, True)


def test_turn_without_news() -> None:
    """Without news one caller is woken, the one that came first, one that shares before others."""
    turn, first, second = enter(), enter(shares=True), enter(shares=True)
    for expected in ([False, True, False], [False, True, True], [True] * 3):
        notify("run", None)
        assert woken(turn, first, second) == expected
    assert count_waiting("run") == 0
    notify("run", None)
    notify("run", "finished")


def test_leaving() -> None:
    """A caller that left is not woken, and one that was woken is told so when it leaves."""
    left, stays = enter(), enter()
    assert left.leave()
    assert not left.leave()
    notify("run", None)
    assert woken(left, stays) == [False, True]
    assert not stays.leave()


def test_everyone() -> None:
    """All rooms can be woken, as by a drain."""
    waiters = [enter("a"), enter("a", shares=True), enter("b")]
    wake_everyone()
    assert woken(*waiters) == [True] * 3
    assert [waiter.result for waiter in waiters] == [None] * 3


def test_closed_loop_is_passed_over() -> None:
    """The turn goes to the next caller if the loop of the first was closed under it."""
    loop = asyncio.new_event_loop()
    abandoned = Waiter("run", shares=False, loop=loop)
    abandoned.enter()
    loop.close()
    stays = enter()
    notify("run", None)
    assert stays.ended


async def test_other_tasks_between() -> None:
    """A loop wakes many tasks in several turns, so that other tasks have theirs in between."""
    loop = asyncio.get_running_loop()
    waiters = [Waiter("run", shares=True, loop=loop) for _ in range(100)]
    assert all(waiter.enter() for waiter in waiters)
    notify("run", "finished")
    seen = list[int]()
    while not all(waiter.ended for waiter in waiters):
        seen.append(sum(waiter.ended for waiter in waiters))
        await asyncio.sleep(0)
    assert len(set(seen)) > 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_forked_child() -> None:
    """The callers of the parent are not those of its child."""
    waiter = enter()
    if not (child := os.fork()):
        os._exit(count_waiting("run"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert waiter.leave()


def test_no_turn_is_lost() -> None:
    """Threads that come, go and hand on their turns at random all have their turn in the end."""
    lock, turns, left = threading.Lock(), list[int](), list[int]()

    def call(number: int) -> None:
        for round_ in range(40):
            while not lock.acquire(blocking=False):
                waiter = Waiter("lock", shares=False, loop=None)
                entered = waiter.enter()
                if lock.acquire(blocking=False):
                    waiter.leave()
                    break
                if entered and not waiter.wait_at_most(0.0002 if round_ % 3 else PATIENCE):
                    left.append(number)
                if not waiter.leave() and round_ % 5 == 0:
                    notify("lock", None)  # As a call that is cancelled at its turn.
            turns.append(number)
            if round_ % 2:
                time.sleep(0)
            lock.release()
            notify("lock", None)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert (len(turns), count_waiting("lock")) == (6 * 40, 0)
