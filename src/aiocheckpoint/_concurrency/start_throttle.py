"""Lets a few runs begin in each turn of an event loop, however many are started at once.

A thousand tasks that are made together would all take their first steps in one turn, and keep the
loop from everything else meanwhile.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import asyncio

__all__ = ["throttle_start"]

_AT_ONCE = 64


class _StartThrottle:
    """The gate of one loop."""

    def __init__(self) -> None:
        self.passed = 0
        self.waiting: deque[asyncio.Future[None]] = deque()

    def turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let in the next ones, at the beginning of a turn."""
        self.passed = 0
        while self.waiting and self.passed < _AT_ONCE:
            future = self.waiting.popleft()
            if not future.done():
                future.set_result(None)
                self.passed += 1
        if self.passed:
            loop.call_soon(self.turn, loop)


_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, _StartThrottle] = WeakKeyDictionary()


async def throttle_start(loop: asyncio.AbstractEventLoop) -> None:
    """Wait, where many have begun in this turn of the running loop, until it is one's own turn."""
    gate = _gates.get(loop)
    if gate is None:
        gate = _gates[loop] = _StartThrottle()
    if gate.passed >= _AT_ONCE:
        future: asyncio.Future[None] = loop.create_future()
        gate.waiting.append(future)
        await future
        return
    gate.passed += 1
    if gate.passed == 1:
        loop.call_soon(gate.turn, loop)
