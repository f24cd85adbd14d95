"""The wait for the end of the active runs of a flow, by any number of callers."""

from __future__ import annotations

import math
import time
import weakref
from threading import get_ident
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.pending_results import PendingResult, deliver
from aiocheckpoint._logging import RunPlace, log_waiting, log_waiting_more

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._engine.active_run import ActiveRun

__all__ = ["Drain"]

_LOOK_SECONDS = 0.5
"""A loop that is closed under its runs wakes nobody."""

_FIRST_WARNING_SECONDS = 5.0
"""Each wait for the next warning is twice as long."""

_MOST_WARNINGS = 10
"""Runs that are named in one look."""


class Drain:
    """The wait for the end of runs, whose answer all callers share.

    The first caller leads: the end of its time ends the wait of all. If it is cancelled, another
    one leads. Nothing here holds a lock, because a signal handler may call it, too.

    Args:
        flow: Name of the flow.
        living: Gives the runs to wait for.
        give_up: Called when a wait is over, or cancelled, and runs are left.
    """

    def __init__(
        self, flow: str, living: Callable[[], list[ActiveRun]], *, give_up: Callable[[], None]
    ) -> None:
        self._flow, self._living, self._give_up = flow, living, give_up
        self._answer: list[str | None] | None = None
        self._leader: dict[None, object] = {}
        self._threads: dict[object, int] = {}
        self._waiters: set[weakref.ref[_Waiter]] = set()

    @property
    def has_ended(self) -> bool:
        """Whether a wait has ended for all callers. Runs may be left."""
        return self._answer is not None

    def waits_in(self, thread: int) -> bool:
        """Whether a caller waits in a thread, or on its loop."""
        return thread in list(self._threads.values())

    def wake(self) -> None:
        """Wake all callers, from any thread, so that they look again."""
        while self._waiters:
            try:
                waiter = self._waiters.pop()()
            except KeyError:
                return
            if waiter is not None:
                deliver([waiter])

    async def wait(self, backend: Backend, seconds: float | None) -> list[str | None]:
        """Wait until all runs have ended, the leader's time is over, or this caller's time.

        Args:
            backend: Waits on the running loop, or in this thread.
            seconds: The most seconds to wait, or None.

        Returns:
            The ids of the runs that have not ended.
        """
        me = object()
        self._threads[me] = get_ident()
        try:
            return await self._wait(me, backend, math.inf if seconds is None else seconds)
        finally:
            del self._threads[me]
            if self._leader.get(None) is me:
                self._leader.clear()
            self.wake()
            if self._living():
                self._give_up()

    async def _wait(self, me: object, backend: Backend, seconds: float) -> list[str | None]:
        began, warning = time.monotonic(), _FIRST_WARNING_SECONDS
        while self._answer is None:
            waiter = self._enter(backend.loop)  # Before the look, so that no end is missed.
            leads = self._leader.setdefault(None, me) is me
            living, passed = self._living(), time.monotonic() - began
            if not living or passed >= seconds:
                ids = [run.run_id for run in living]
                if living and not leads:
                    return ids
                self._answer = ids
                break
            if leads and passed >= warning:
                warning *= 2
                self._warn(living)
            await backend.wait_at_most(waiter, min(seconds - passed, _LOOK_SECONDS))
        return list(self._answer)

    def _enter(self, loop: asyncio.AbstractEventLoop | None) -> _Waiter:
        waiter = _Waiter(None, loop)
        self._waiters.add(weakref.ref(waiter, self._waiters.discard))
        return waiter

    def _warn(self, living: list[ActiveRun]) -> None:
        """Name the runs and the steps that the drain waits for."""
        now = time.perf_counter()
        for run in living[:_MOST_WARNINGS]:
            progress = run.progress
            if progress is None:
                log_waiting(RunPlace(self._flow, run.run_id), None)
            else:
                place = RunPlace(self._flow, run.run_id, progress.step, progress.attempt)
                log_waiting(place, now - progress.began)
        if len(living) > _MOST_WARNINGS:
            log_waiting_more(self._flow, len(living) - _MOST_WARNINGS)


class _Waiter(PendingResult[None]):
    """One wait of a caller. Held by it alone, since it holds its loop."""

    __slots__ = ("__weakref__",)
