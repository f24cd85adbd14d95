"""Points at which a run can be held, and the flow that is held there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from interrupts import PATIENCE, Latch

from aiocheckpoint import CheckpointFlow, LocalStateHandler, events
from aiocheckpoint._concurrency.step_threads import StepThreads
from aiocheckpoint._concurrency.threads import SNAPSHOTS
from aiocheckpoint._concurrency.work_items import WorkItem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from support import State

    from aiocheckpoint import Header
    from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
    from aiocheckpoint._concurrency.work_items import Threads
    from aiocheckpoint._snapshot.target import SnapshotTarget
    from aiocheckpoint.handlers import Lock

NAMES = ("a", "b", "c")
MORE_THAN_ANY_POOL = 100


def state_after(position: int) -> State:
    """Give the state of an undisturbed run when that many steps are done."""
    return {"trail": [*NAMES[:position]], "loaded": [*NAMES[:position]]}


@dataclass(frozen=True)
class HoldPoint:
    """A point at which a run is held, and the snapshot that a cancellation there leaves.

    Attributes:
        point: The point that the run reaches there.
        style: "sync", "async", or "returning": plain functions that return awaitables.
        blocks: Whether the cancellation must wait there.
        position: The stored position afterwards; None if no snapshot is stored.
        status: The status in the header afterwards.
        part: The part named in the header, if the cancellation is recorded.
        own: Whether the handler is a user's own class of dicts.
        saves: Whether the steps have savers.
    """

    point: str
    style: str = "async"
    blocks: bool = False
    position: int | None = 1
    status: str = "cancelled"
    part: str | None = None
    own: bool = False
    saves: bool = True


class HeldRun:
    """A flow of three steps that is held at a point when it first reaches it."""

    def __init__(self, path: Path, place: HoldPoint) -> None:
        """Make the run; no snapshot is stored yet."""
        self.path = path
        self.place = place
        self.latch = Latch(blocks=place.blocks)
        self.armed = True
        self.ran: list[str] = []
        self.items: list[WorkItem[bool]] = []
        self.step_threads = StepThreads()
        self.store_threads: DaemonThreads = SNAPSHOTS
        self.handler: LocalStateHandler | OwnHandler = LocalStateHandler(path)
        if place.own:
            self.handler = AsyncOwn(self) if place.style == "async" else SyncOwn(self)

    def flow(self) -> CheckpointFlow:
        """Make the flow anew, as the next process would."""
        handler = self.handler if self.place.own else HoldingHandler(self)
        cp = CheckpointFlow(self.path, handler=handler, hooks=[self.hook])
        held = self.place.point.split()[-1]
        for name in NAMES:
            is_held = name == (held if held in NAMES else "b")
            style = self.place.style if is_held and not self.place.own else "async"
            load, step, save = (self._part(part, name, style) for part in ("load", "step", "save"))
            cp.add_step(load, save if self.place.saves else None, name=name)(step)
        core = cp._core  # noqa: SLF001
        self.step_threads, self.store_threads = core.step_threads, core.store_threads
        return cp

    def start(self) -> Any:  # noqa: ANN401 - a coroutine
        """Start or resume, with every loader."""
        return self.flow().arun(state_after(0), "always")

    def is_held(self, point: str) -> bool:
        """Whether the run is to be held here, now, for the first time."""
        held = self.armed and point == self.place.point
        self.armed = self.armed and not held
        return held

    def reach(self, point: str) -> None:
        """Come by a spot in a thread."""
        if self.is_held(point):
            self.latch.hold()

    async def areach(self, point: str) -> None:
        """Come by a spot on the loop."""
        if self.is_held(point):
            await self.latch.ahold()

    async def hook(self, event: events.Event) -> None:
        """Hold the run in a hook, or fill all threads so that the next call waits in a queue."""
        point = f"{type(event).__name__} {getattr(event, 'step', '')}"
        if self.is_held(f"queue after {point}"):
            for threads in (self.step_threads, self.store_threads):
                self.fill(threads)
            self.latch.entered.set()
        await self.areach(point)

    def fill(self, threads: Threads) -> None:
        """Give all of these threads work that ends when the latch is opened."""
        loop = asyncio.get_running_loop()
        for _ in range(MORE_THAN_ANY_POOL):
            item = WorkItem(self.latch.opened.wait, (PATIENCE,), loop)
            threads.put(item)
            self.items.append(item)

    def clear(self) -> None:
        """Wait until the threads are free."""
        for item in self.items:
            item.join()

    def header(self) -> Header | None:
        """Read the stored header."""
        return LocalStateHandler(self.path).header()

    def _part(self, part: str, name: str, style: str) -> Callable[..., Any]:
        point = f"{part} {name}"

        def body(state: State) -> State | None:
            self.ran.append(point)
            if part != "save":
                key = "trail" if part == "step" else "loaded"
                state[key] = [*state[key], name]
            return {name: part} if part == "load" else None

        def sync(state: State) -> State | None:
            loaded = body(state)
            self.reach(point)
            return loaded

        async def coroutine(state: State) -> State | None:
            loaded = body(state)
            await self.areach(point)
            return loaded

        def returning(state: State) -> Awaitable[State | None]:
            return coroutine(state)

        return {"sync": sync, "async": coroutine, "returning": returning}[style]


class HoldingHandler(LocalStateHandler):
    """A real local handler that reaches the run's points."""

    def __init__(self, held_run: HeldRun) -> None:
        """Use the run's path, without waiting for the disk."""
        super().__init__(held_run.path, fsync=False)
        self._held_run = held_run
        self._written = 0

    def open(
        self, run_id: str | None = None, kept: tuple[int, int] | None = None
    ) -> BinaryIO | None:
        """Be held before reading."""
        self._held_run.reach("reading")
        return super().open(run_id, kept)

    def replace(
        self,
        run_id: str | None,
        write_to: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Be held before or after writing the n-th snapshot of this run."""
        self._written += 1
        number = self._written
        self._held_run.reach(f"before snapshot {number}")
        result = super().replace(run_id, write_to, amends, lock=lock)
        self._held_run.reach(f"after snapshot {number}")
        return result

    def lock(self, run_id: str | None = None) -> Lock:  # type: ignore[override]
        """Give a lock that is slow to take or to release."""
        return _HoldingLock(super().lock(run_id), self._held_run)


class _HoldingLock:
    def __init__(self, lock: Lock, held_run: HeldRun) -> None:
        self._lock = lock
        self._held_run = held_run

    @property
    def held(self) -> bool:
        return self._lock.held

    def acquire(self) -> None:
        self._held_run.reach("before locking")
        self._lock.acquire()
        self._held_run.reach("after locking")

    def release(self) -> None:
        self._held_run.reach("before release")
        self._lock.release()
        self._held_run.reach("after release")


class OwnHandler:
    """The dicts of a user's own handlers."""

    def __init__(self, held_run: HeldRun) -> None:
        """Begin with nothing stored."""
        self.held_run = held_run
        self.kept: State = {}
        self.written = 0


class SyncOwn(OwnHandler):
    """A user's own handler of sync methods."""

    def read(self) -> State:
        """Return the stored state."""
        self.held_run.reach("reading")
        return self.kept

    def write(self, state: State) -> None:
        """Keep a state."""
        self.written += 1
        self.held_run.reach(f"before snapshot {self.written}")
        self.kept = state


class AsyncOwn(OwnHandler):
    """A user's own handler of async methods."""

    async def read(self) -> State:
        """Return the stored state."""
        await self.held_run.areach("reading")
        return self.kept

    async def write(self, state: State) -> None:
        """Keep a state."""
        self.written += 1
        await self.held_run.areach(f"before snapshot {self.written}")
        self.kept = state


NOTHING = {"position": None, "status": ""}

HOLD_POINTS = {
    "load-async": HoldPoint("load b", part="load"),
    "load-sync": HoldPoint("load b", "sync", blocks=True, part="load"),
    "load-returning": HoldPoint("load b", "returning", part="load"),
    "step-async": HoldPoint("step b", part="step"),
    "step-sync": HoldPoint("step b", "sync", blocks=True, part="step"),
    "step-returning": HoldPoint("step b", "returning", part="step"),
    "step-queued": HoldPoint("queue after StepLoaded b", "sync", part="step"),
    "save-async": HoldPoint("save b", part="save"),
    "save-sync": HoldPoint("save b", "sync", blocks=True, position=2, part="snapshot"),
    "save-returning": HoldPoint("save b", "returning", part="save"),
    "hook-before-b": HoldPoint("StepStarted b", part="load"),
    "hook-after-b": HoldPoint("StepFinished b", position=2, part="snapshot"),
    "only-step-sync": HoldPoint(
        "step b", "sync", blocks=True, position=2, part="snapshot", saves=False
    ),
    "only-step-returning": HoldPoint("step b", "returning", part="step", saves=False),
    "last-step-sync": HoldPoint(
        "step c", "sync", blocks=True, position=0, status="finished", saves=False
    ),
    "last-save-sync": HoldPoint("save c", "sync", blocks=True, position=0, status="finished"),
    "start-snapshot-begun": HoldPoint("before snapshot 1", blocks=True, position=0, part="load"),
    "snapshot-begun": HoldPoint("before snapshot 3", blocks=True, position=2, part="snapshot"),
    "snapshot-written": HoldPoint("after snapshot 3", blocks=True, position=2, part="snapshot"),
    "snapshot-queued": HoldPoint(
        "queue after StepFinished b", blocks=True, position=2, part="snapshot"
    ),
    "last-snapshot-begun": HoldPoint(
        "before snapshot 4", blocks=True, position=0, status="finished"
    ),
    "last-snapshot-written": HoldPoint(
        "after snapshot 4", blocks=True, position=0, status="finished"
    ),
    "end-hook": HoldPoint("RunFinished ", position=0, status="finished"),
    "reading": HoldPoint("reading", blocks=True, position=None),
    "before-locking": HoldPoint("before locking", blocks=True, position=None),
    "after-locking": HoldPoint("after locking", blocks=True, position=None),
    "before-release": HoldPoint("before release", blocks=True, position=0, status="finished"),
    "after-release": HoldPoint("after release", blocks=True, position=0, status="finished"),
    "own-sync-read": HoldPoint("reading", "sync", blocks=True, position=None, own=True),
    "own-async-read": HoldPoint("reading", position=None, own=True),
    "own-sync-write": HoldPoint("before snapshot 3", "sync", blocks=True, position=2, own=True),
    "own-async-write": HoldPoint("before snapshot 3", blocks=True, position=2, own=True),
    "own-step": HoldPoint("step b", own=True),
}


async def check_resumes(held_run: HeldRun) -> None:
    """Check that the next run resumes after the newest snapshot and ends as if undisturbed."""
    held_run.ran.clear()
    assert await held_run.start() == state_after(3)
    assert [point for point in held_run.ran if point.startswith("step")] == [
        f"step {name}" for name in NAMES[held_run.place.position or 0 :]
    ]
