"""Slots: at most so many callers hold one of some resource, and the others wait in turn.

Callers are tasks on any event loop, and blocked threads. There is no lock, because a finalizer may
give a slot back at any line. Each change is one operation of a deque or dict.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from aiocheckpoint._concurrency.pending_results import PendingResult, deliver

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from aiocheckpoint._concurrency.backends import Backend

__all__ = ["Interruptions", "Slots"]

_SECONDS_ON_LOOP, _SECONDS_IN_THREAD = 5.0, 0.1
"""Between two looks. A cancellation reaches a task by itself, and a blocked thread by a look."""
_TURN, _GONE = object(), object()


class Interruptions(Protocol):
    """The reasons for which a caller waits no more."""

    def check(self) -> None:
        """Raise an exception to end the wait."""

    def listening(self, callback: Callable[[], object]) -> AbstractContextManager[None]:
        """Call `callback` on the running loop when `check` is to be called, inside the block."""
        ...


class _Waiter(PendingResult[None]):
    """A caller in the queue. Of its turn and its leave the first one counts."""

    __slots__ = ("_claim",)

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        super().__init__(None, loop)
        self._claim: dict[None, object] = {}

    def is_taken_for(self, reason: object) -> bool:
        """Take it for a reason, and return whether no other reason came first."""
        return self._claim.setdefault(None, reason) is reason


class Slots:
    """A number of slots.

    Args:
        count: The number.
    """

    def __init__(self, count: int) -> None:
        self._free = deque([None] * count)
        self._waiting: deque[_Waiter] = deque()

    async def take(self, backend: Backend, interruptions: Interruptions) -> None:
        """Take a slot, or wait until it is the turn of this caller.

        Args:
            backend: Waits on the running loop, or in this thread.
            interruptions: The reasons for which it waits no more.

        Raises:
            BaseException: An interruption or a cancellation. No slot is held then.
        """
        if not self._waiting and self._took_free():
            return
        interruptions.check()
        waiter = _Waiter(backend.loop)
        self._waiting.append(waiter)
        self._hand_over()  # Behind the entry, so that no `give_back` is missed.
        try:
            await self._wait(waiter, backend, interruptions)
        except BaseException:
            if not waiter.is_taken_for(_GONE):  # It got a slot meanwhile.
                self.give_back()
            raise

    def give_back(self) -> None:
        """Give a slot back."""
        self._free.append(None)
        self._hand_over()

    async def _wait(self, waiter: _Waiter, backend: Backend, interruptions: Interruptions) -> None:
        if backend.loop is None:
            while not waiter.ended:
                await backend.wait_at_most(waiter, _SECONDS_IN_THREAD)
                interruptions.check()
            return
        with interruptions.listening(waiter.end_wait):
            while not waiter.ended:
                await backend.wait_at_most(waiter, _SECONDS_ON_LOOP)
                interruptions.check()
                waiter.wait_again()

    def _hand_over(self) -> None:
        """Give free slots to the first callers in the queue."""
        while self._waiting and self._took_free():
            try:
                waiter = self._waiting.popleft()
            except IndexError:  # Another thread was quicker.
                self._free.append(None)
                continue
            is_gone = waiter.loop is not None and waiter.loop.is_closed()
            if is_gone or not waiter.is_taken_for(_TURN):
                self._free.append(None)
            else:
                deliver([waiter])

    def _took_free(self) -> bool:
        try:
            self._free.popleft()
        except IndexError:
            return False
        return True
