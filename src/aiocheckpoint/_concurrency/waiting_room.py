"""Waiting rooms: the callers of this process that wait for one run, woken by its result.

A caller is a task on any event loop, or a blocked thread. Callers that share the result are
woken all together. Of the other callers one is woken, for it is their turns that they wait for.

There is no lock, because a signal handler may come in at any line and wait as well. Each change of
a room is one operation of a dict or deque. A caller that might have missed a wake-up is woken once
too often, and looks again.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint._concurrency.pending_results import PendingResult

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

__all__ = ["Waiter", "count_waiting", "notify", "wake_everyone"]

_AT_ONCE = 8
"""Tasks woken in one turn of a loop. Others get theirs in between."""


class _Room(NamedTuple):
    """What names a room: the key of a run, and whether its callers share the result."""

    key: str
    shares: bool


class Waiter(PendingResult[Any]):
    """One caller in a room, from its entry until it is woken or leaves.

    Its `result` is that of the run, or None where it is woken for another reason.

    Args:
        key: The location of the run, or another text that is its own.
        shares: Whether the caller shares the result with all others.
        loop: The running loop, or None for a caller that blocks its thread.
    """

    __slots__ = ()

    def __init__(self, key: str, *, shares: bool, loop: asyncio.AbstractEventLoop | None) -> None:
        super().__init__(_Room(key, shares), loop)

    def enter(self) -> bool:
        """Enter the room. False where it was emptied meanwhile, so that the caller looks again."""
        waiting = _rooms.setdefault(self.request, deque())
        waiting.append(self)
        return _rooms.get(self.request) is waiting

    def leave(self) -> bool:
        """Leave the room. False where the caller was woken before."""
        waiting = _rooms.get(self.request)
        if waiting is None:
            return False
        try:
            waiting.remove(self)
        except ValueError:
            return False
        _close_if_empty(self.request, waiting)
        return True


_rooms: dict[_Room, deque[Waiter]] = {}


def count_waiting(key: str) -> int:
    """The number of callers that wait for a run."""
    return sum(len(_rooms.get(_Room(key, shares), ())) for shares in (True, False))


def notify(key: str, result: object | None) -> None:
    """Wake all callers that share a result, and one of the others. Without one, wake one alone."""
    if result is not None:
        _wake_all(_Room(key, shares=True), result)
        _wake_one(_Room(key, shares=False))
    elif not _wake_one(_Room(key, shares=True)):
        _wake_one(_Room(key, shares=False))


def wake_everyone() -> None:
    """Wake the callers of all rooms, without a result."""
    for room in list(_rooms):
        _wake_all(room, None)


def _wake_all(room: _Room, result: object | None) -> None:
    waiting = list(_rooms.pop(room, ()))
    for waiter in waiting:
        waiter.result = result
    _wake(waiting)


def _wake_one(room: _Room) -> bool:
    """Wake the caller that came first, and return whether there was one."""
    waiting = _rooms.get(room)
    while waiting:
        try:
            waiter = waiting.popleft()
        except IndexError:
            break
        _close_if_empty(room, waiting)
        if waiter.loop is None or not waiter.loop.is_closed():
            _wake([waiter])
            return True
    return False


def _close_if_empty(room: _Room, waiting: deque[Waiter]) -> None:
    if not waiting and _rooms.get(room) is waiting:
        _wake_all(room, None)  # Somebody may have entered since the look.


def _wake(waiting: Iterable[Waiter]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, deque[Waiter]] = {}
    for waiter in waiting:
        if waiter.loop is None:
            waiter.wake()
        else:
            by_loop.setdefault(waiter.loop, deque()).append(waiter)
    for loop, waiters in by_loop.items():
        with suppress(RuntimeError):  # The loop was closed, and no task waits.
            loop.call_soon_threadsafe(_wake_some, loop, waiters)


def _wake_some(loop: asyncio.AbstractEventLoop, waiters: deque[Waiter]) -> None:
    for _ in range(min(_AT_ONCE, len(waiters))):
        waiters.popleft().wake()
    if waiters:
        loop.call_soon(_wake_some, loop, waiters)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_rooms.clear)  # The callers are those of the parent.
