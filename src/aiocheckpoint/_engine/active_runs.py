"""The active runs of a flow, and the request to stop them behind their steps."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from aiocheckpoint._model.current_step import CURRENT
from aiocheckpoint.errors import DrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["ActiveRuns"]


class ActiveRuns:
    """Knows the active runs of one flow, on all loops and threads, and drains them.

    Args:
        flow: Name of the flow.

    Attributes:
        drain_requested: Whether running runs are to stop, and no new one may begin.
    """

    def __init__(self, flow: str) -> None:
        self.drain_requested: bool = False
        self._flow = flow
        self._runs: dict[_ActiveRun, str | None] = {}
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._callbacks: set[Callable[[], object]] = set()

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
        self._callbacks.add(call)  # Before reading `drain_requested`, as in `enter`.
        try:
            self.check()
            yield
        finally:
            self._callbacks.discard(call)

    def enter(self, run_id: str | None) -> _ActiveRun:
        """Register a run that begins, and give the token for `leave`.

        Raises:
            DrainingError: No run may begin.
        """
        token = _ActiveRun()
        # Before reading `drain_requested`: drain() sets it, then reads this.
        self._runs[token] = run_id
        if self.drain_requested:
            self.leave(token)
            raise DrainingError(self._flow)
        return token

    def leave(self, token: _ActiveRun) -> None:
        """Remove a run that has ended."""
        del self._runs[token]
        waiting = self._waiting  # Read once: the draining thread may stop waiting at any moment.
        if waiting is not None and not self._runs:
            loop, idle = waiting
            with suppress(RuntimeError):  # That loop was closed meanwhile.
                loop.call_soon_threadsafe(idle.set)

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
        idle = asyncio.Event()
        self._waiting = asyncio.get_running_loop(), idle
        self.drain_requested = True
        for call in tuple(self._callbacks):
            with suppress(RuntimeError):  # That loop was closed meanwhile.
                call()
        try:
            if self._runs:
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await idle.wait()
        finally:
            self._waiting = None
            if self._runs:
                give_up()
        return list(self._runs.values())

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
        here = _ActiveRun()
        runs = [run for run in list(self._runs) if run.loop is here.loop]
        return bool(runs) and all(run.task is not here.task for run in runs)


class _ActiveRun:
    """The event loop and task of an active run.

    Attributes:
        loop, task: Its event loop and task, or None.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[object] | None = None
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # No loop runs here.
        self.task = asyncio.current_task()
