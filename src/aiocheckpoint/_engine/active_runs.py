"""The active runs of a flow, and the request to stop them behind their steps."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from aiocheckpoint._model.current_step import CURRENT
from aiocheckpoint.errors import DrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["ActiveRuns"]

_LOOK_SECONDS = 0.5
"""A loop that is closed under its runs tells nobody."""


class ActiveRuns:
    """Knows the active runs of one flow, on all loops and threads, and drains them.

    It holds loops, tasks and callbacks by weak references. A run whose loop was closed under it is
    then collected with its task, which releases its lock, although the flow lives on.

    Args:
        flow: Name of the flow.

    Attributes:
        drain_requested: Whether running runs are to stop, and no new one may begin.
    """

    def __init__(self, flow: str) -> None:
        self.drain_requested: bool = False
        self._flow = flow
        self._runs: dict[_ActiveRun, None] = {}
        self._waiting: weakref.ref[_Idle] | None = None
        self._callbacks: set[weakref.ref[Callable[[], object]]] = set()

    def check(self) -> None:
        """Raise DrainingError if no run may begin."""
        if self.drain_requested:
            raise DrainingError(self._flow)

    @contextmanager
    def on_drain(self, callback: Callable[[], object]) -> Generator[None, None, None]:
        """Call `callback` on the running loop when a drain is requested inside the block.

        Raises:
            DrainingError: A drain was requested before.
        """
        call = partial(asyncio.get_running_loop().call_soon_threadsafe, callback)
        reference: weakref.ref[Callable[[], object]] = weakref.ref(call, self._callbacks.discard)
        self._callbacks.add(reference)  # Before reading `drain_requested`, as in `enter`.
        try:
            self.check()
            yield
        finally:
            self._callbacks.discard(reference)

    def enter(self, run_id: str | None) -> _ActiveRun:
        """Register a run that begins, and give the token for `leave`.

        Raises:
            DrainingError: No run may begin.
        """
        token = _ActiveRun(run_id)
        # Before reading `drain_requested`: drain() sets it, then reads this.
        self._runs[token] = None
        if self.drain_requested:
            self.leave(token)
            raise DrainingError(self._flow)
        return token

    def leave(self, token: _ActiveRun) -> None:
        """Remove a run that has ended."""
        del self._runs[token]
        waiting = self._waiting  # Read once: the draining thread may stop waiting at any moment.
        if waiting is not None and not self._runs and (idle := waiting()) is not None:
            idle.set()

    async def drain(
        self, seconds: float | None, *, give_up: Callable[[], None]
    ) -> list[str | None]:
        """Let no run begin, and wait until all have ended, or for at most `seconds`.

        Args:
            seconds: The most seconds to wait, or None.
            give_up: Called when the wait is over, or cancelled, and runs are left.

        Returns:
            The ids of the runs that have not ended.

        Raises:
            DrainingError: It was called before, or by one of the steps that it would wait for.
        """
        self._check_first_call()
        idle = _Idle()
        self._waiting = weakref.ref(idle)
        self.drain_requested = True
        for reference in tuple(self._callbacks):
            with suppress(RuntimeError):  # That loop was closed meanwhile.
                if (call := reference()) is not None:
                    call()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while self._living():
                        await idle.wait()
        finally:
            self._waiting = None
            if self._living():
                give_up()
        return self._living()

    def _living(self) -> list[str | None]:
        """The ids of the runs that can still end by themselves: their loop is not closed."""
        # Not `items()`: the garbage collector may come between, and end a run.
        return [run.run_id for run in list(self._runs) if not run.is_abandoned]

    def _check_first_call(self) -> None:
        if self.drain_requested:
            problem = "adrain() was called before. Wait for that call. It needs no second one"
            raise DrainingError(self._flow, problem=problem)
        inside = CURRENT.get()
        if inside is not None and inside.flow == self._flow and not self._is_outside_runs():
            problem = f"adrain() in its own step {inside.step!r} would wait for itself"
            raise DrainingError(self._flow, problem=problem)

    def _is_outside_runs(self) -> bool:
        """Whether the current task is none of the runs, on a loop that has runs.

        A signal handler called in the middle of a step has the context of that step, and so has
        each task that it starts.
        """
        here = _ActiveRun(None)
        runs = [run for run in list(self._runs) if run.loop() is here.loop()]
        return bool(runs) and all(run.task() is not here.task() for run in runs)


class _ActiveRun:
    """The event loop and task of an active run.

    Args:
        run_id: Its id.

    Attributes:
        run_id: The same.
        loop, task: Give its event loop and task, or None where it has none or they are gone.
        is_async: Whether it runs on a loop.
    """

    __slots__ = ("is_async", "loop", "run_id", "task")

    def __init__(self, run_id: str | None) -> None:
        self.run_id: str | None = run_id
        self.loop: Callable[[], asyncio.AbstractEventLoop | None] = _nothing
        self.task: Callable[[], asyncio.Task[object] | None] = _nothing
        self.is_async: bool = False
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # No loop runs here.
        task = asyncio.current_task()
        self.loop, self.is_async = weakref.ref(loop), True
        if task is not None:
            self.task = weakref.ref(task)

    @property
    def is_abandoned(self) -> bool:
        """Whether its loop was closed under it, or is gone."""
        if not self.is_async:
            return False
        loop = self.loop()
        return loop is None or loop.is_closed()


def _nothing() -> None:
    return None


class _Idle:
    """Wakes a drain when the last run ends. Held by the drain alone."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake it, from any thread."""
        with suppress(RuntimeError):  # Its loop was closed meanwhile.
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        """Wait for the end of the last run, or until it is time to look for closed loops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._event.wait()
