"""Flows for the twins of the methods for many runs, and looks at what they leave behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow, current_step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import State

LOOP = "aiocheckpoint-loop"
PATIENCE = 20.0


def threads_of_loops() -> list[str]:
    """Find the threads of loops that have not ended."""
    return [thread.name for thread in threading.enumerate() if thread.name == LOOP]


def until(reached: Callable[[], bool]) -> None:
    """Wait for something."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def nothing_runs() -> bool:
    """Whether no thread of a loop is left."""
    gc.collect()
    return not threads_of_loops()


@dataclass
class HeldFlow:
    """A flow of two steps, whose runs are held in the second one, or fail there if they are quick.

    Attributes:
        place: Where it stores.
        ran: The runs whose second step has ended.
        inside: The runs that are in it.
        most: The most that were in it at once.
        free: Lets all go, and those that come later.
        sync: Whether the second step is a sync one.
    """

    place: Path
    sync: bool = False
    free: threading.Event = field(default_factory=threading.Event)
    ran: list[str | None] = field(default_factory=list[str | None])
    inside: list[str | None] = field(default_factory=list[str | None])
    most: int = 0

    def flow(self, limiter: Any = None, **options: Any) -> CheckpointFlow:  # noqa: ANN401 - passed on
        """Make the flow, with a limiter of the second step."""
        cp: CheckpointFlow = CheckpointFlow(self.place, handler="local", fsync=False, **options)
        cp.add_step(name="first")(lambda state: state.update(first=1))
        cp.add_step(name="second", limiter=limiter)(self._hold if self.sync else self._ahold)
        return cp

    def arrived(self, number: int) -> None:
        """Wait until so many runs are held."""
        until(lambda: len(self.inside) == number)

    def store_stopped(self, runs: dict[str, State]) -> None:
        """Store runs that a drain has stopped before the second step."""
        waiting = list[int]()

        def limiter(state: State) -> asyncio.Semaphore:
            waiting.append(1)
            return asyncio.Semaphore(0)

        async def work() -> None:
            cp = self.flow(limiter)
            results = asyncio.create_task(cp.amap(runs))
            while len(waiting) < len(runs):  # noqa: ASYNC110 - changed by the limiter
                await asyncio.sleep(0.001)
            await cp.adrain()
            await results

        asyncio.run(work())

    def _enter(self, state: State) -> str | None:
        if state.get("quick"):
            raise ConnectionError
        run_id = current_step().run_id
        self.inside.append(run_id)
        self.most = max(self.most, len(self.inside))
        return run_id

    def _hold(self, state: State) -> None:
        run_id = self._enter(state)
        assert self.free.wait(PATIENCE)
        self._end(run_id, state)

    async def _ahold(self, state: State) -> None:
        run_id = self._enter(state)
        try:
            while not self.free.is_set():  # noqa: ASYNC110 - set by other threads
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.inside.remove(run_id)
            raise
        self._end(run_id, state)

    def _end(self, run_id: str | None, state: State) -> None:
        state["second"] = 1
        self.ran.append(run_id)
        self.inside.remove(run_id)
