"""Which runs of a flow are under way, and whether they are to stop behind their steps."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from aiocheckpoint._model.current_step import CURRENT
from aiocheckpoint.errors import DrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Drain"]


class Drain:
    """The runs of one flow that are under way, on whatever loop or thread.

    Args:
        flow: Name of the flow.

    Attributes:
        asked: Whether they are to stop, and none to begin.
    """

    def __init__(self, flow: str) -> None:
        self.asked = False
        self._flow = flow
        self._runs: dict[_ActiveRun, str | None] = {}
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._told: set[Callable[[], object]] = set()

    def check(self) -> None:
        """Raise DrainingError if no run may begin."""
        if self.asked:
            raise DrainingError(self._flow)

    @contextmanager
    def on_drain(self, callback: Callable[[], object]) -> Generator[None, None, None]:
        """Have `callback` called, on the loop that runs here, when runs are to stop.

        Raises:
            DrainingError: They are already.
        """
        call = partial(asyncio.get_running_loop().call_soon_threadsafe, callback)
        self._told.add(call)  # Before the look at `asked`, as in `enter`.
        try:
            self.check()
            yield
        finally:
            self._told.discard(call)

    def enter(self, run_id: str | None) -> _ActiveRun:
        """Note that a run begins; what is returned is for `leave`.

        Raises:
            DrainingError: None may begin.
        """
        token = _ActiveRun()
        self._runs[token] = run_id  # Before the look at `asked`: who asks looks at the runs after.
        if self.asked:
            self.leave(token)
            raise DrainingError(self._flow)
        return token

    def leave(self, token: _ActiveRun) -> None:
        """Note that a run has ended."""
        del self._runs[token]
        waiting = self._waiting  # once, for its thread may stop waiting at any moment
        if waiting is not None and not self._runs:
            loop, idle = waiting
            with suppress(RuntimeError):  # that loop was closed meanwhile
                loop.call_soon_threadsafe(idle.set)

    async def drain(self, seconds: float | None) -> list[str | None]:
        """Let none begin, and wait until all have ended, or for so many seconds.

        Returns:
            The ids of those that have not ended.

        Raises:
            DrainingError: It was called before, or by one of the steps that it would wait for.
        """
        if self.asked:
            problem = "adrain() was called before. Wait for that call; it needs no second one"
            raise DrainingError(self._flow, problem=problem)
        inside = CURRENT.get()
        if inside is not None and inside.flow == self._flow and not self._is_outside_runs():
            problem = f"adrain() in its own step {inside.step!r} would wait for itself"
            raise DrainingError(self._flow, problem=problem)
        idle = asyncio.Event()
        self._waiting = asyncio.get_running_loop(), idle
        self.asked = True
        for call in tuple(self._told):
            with suppress(RuntimeError):  # that loop was closed meanwhile
                call()
        if self._runs:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await idle.wait()
        self._waiting = None
        return list(self._runs.values())

    def _is_outside_runs(self) -> bool:
        """Whether this is a task beside those of the runs, on a loop of theirs.

        It has the context of a step where a signal struck in the middle of that step, and what the
        signal's handler hands to the loop goes on in the context in which it was handed over.
        """
        here = _ActiveRun()
        runs = [run for run in list(self._runs) if run.loop is here.loop]
        return bool(runs) and all(run.task is not here.task for run in runs)


class _ActiveRun:
    """Where a run is under way.

    Attributes:
        loop, task: Those that it is in, None where it is in none.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[object] | None = None
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # there is no loop here
        self.task = asyncio.current_task()
