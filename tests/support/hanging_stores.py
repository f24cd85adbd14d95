"""A store that hangs, as behind a frozen connection, and a flow on it."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow, LocalStateHandler, StateHandler, current_step
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import anyio
    from support import State

    from aiocheckpoint import Header
    from aiocheckpoint._snapshot.target import SnapshotTarget

PATIENCE = 60.0
THREADS = 4  # of a store, by default


class Hanging(StateHandler):
    """A mixin of stores whose writes hang while `goes_on` is not set.

    Attributes:
        goes_on: Lets it go on.
        gate: Lets the first step of the flow end.
        fails: The run whose first step fails.
        hanging: The runs whose write hangs or has hung.
        wrote: The status of each write of a run.
        scopes: The scopes of the runs.
    """

    def begin(self) -> None:
        """Begin as a store that goes on."""
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.gate: asyncio.Event | None = None
        self._in_step, self._hang = threading.Semaphore(0), threading.Semaphore(0)
        self.fails: str | None = None
        self.hanging: list[str | None] = []
        self.wrote: defaultdict[str | None, list[str]] = defaultdict(list)
        self.scopes: dict[str, anyio.CancelScope] = {}

    def replace(
        self,
        run_id: str | None,
        write_to: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        **lock: Any,  # noqa: ANN401 (passed on as is)
    ) -> tuple[Header, int]:
        """Hang, then store."""
        if not self.goes_on.is_set():
            self.hanging.append(run_id)
            self._hang.release()
            self.goes_on.wait(PATIENCE)
        # The method of the store behind this mixin.
        header, length = super().replace(run_id, write_to, amends, **lock)  # type: ignore[safe-super]
        self.wrote[run_id].append(header.status)
        return header, length

    async def reach_step(self) -> None:
        """Be a run in its first step, and wait at the gate."""
        self._in_step.release()
        if self.gate is not None:
            await self.gate.wait()

    async def arrivals(self, number: int) -> None:
        """Wait until so many more runs are in their first step."""
        await _take(self._in_step, number)

    async def all_threads_hang(self) -> None:
        """Wait until the writes of other runs hang in all threads, so that the next one queues."""
        while len(self.hanging) < THREADS:  # noqa: ASYNC110 (other threads add to it)
            await asyncio.sleep(0.001)

    async def hangs(self, number: int) -> None:
        """Wait until so many more writes hang."""
        await _take(self._hang, number)


class HangingStore(Hanging, MemoryStateHandler):
    """A store in memory."""

    def __init__(self) -> None:
        """Make it."""
        super().__init__("hanging")
        self.begin()


class HangingFiles(Hanging, LocalStateHandler):
    """A directory."""

    def __init__(self, path: Path) -> None:
        """Make it."""
        super().__init__(f"{path}/", fsync=False, flow="hanging")
        self.begin()


async def _take(semaphore: threading.Semaphore, number: int) -> None:
    for _ in range(number):
        assert await asyncio.to_thread(semaphore.acquire, timeout=PATIENCE)


def hung_flow(store: Hanging) -> CheckpointFlow:
    """Make a flow of two steps, the first of which waits at the gate."""
    cp = CheckpointFlow("hanging", handler=store)

    @cp.add_step()
    async def first(state: State) -> None:
        await store.reach_step()
        if current_step().run_id == store.fails:
            await store.all_threads_hang()
            raise ConnectionError
        state["first"] = True

    @cp.add_step()
    async def last(state: State) -> None:
        state["last"] = True

    return cp
