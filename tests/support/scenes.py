"""Places where a run can be held, and the flow that is held there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from interrupts import PATIENCE, Gate

from aiocheckpoint import CheckpointFlow, LocalStateHandler, events
from aiocheckpoint._concurrency.step_threads import DEFAULT_STEP_THREADS
from aiocheckpoint._concurrency.threads import SNAPSHOTS
from aiocheckpoint._concurrency.work_items import WorkItem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from support import State

    from aiocheckpoint import Header
    from aiocheckpoint._concurrency.work_items import Threads
    from aiocheckpoint._snapshot.target import SnapshotTarget
    from aiocheckpoint.handlers import Lock

NAMES = ("a", "b", "c")
MORE_THAN_ANY_POOL = 100


def state_after(position: int) -> State:
    """Give the state of an undisturbed run when that many steps are done."""
    return {"trail": [*NAMES[:position]], "loaded": [*NAMES[:position]]}


@dataclass(frozen=True)
class Place:
    """A place where a run is held, and what a cancellation there leaves behind.

    Attributes:
        spot: What the run comes by there.
        colour: Whether the parts of step b are "sync", "async", or plain and "giving" awaitables.
        blocks: Whether the cancellation must wait there.
        position: The stored position afterwards; None where nothing is stored.
        status: The status in the header afterwards.
        part: The part named in the header, where the cancellation is recorded.
        own: Whether the handler is a user's own class of dicts.
    """

    spot: str
    colour: str = "async"
    blocks: bool = False
    position: int | None = 1
    status: str = "cancelled"
    part: str | None = None
    own: bool = False


class Scene:
    """A flow of three steps that is held at a place when it first comes there."""

    def __init__(self, path: Path, place: Place) -> None:
        """Set the scene; nothing is stored yet."""
        self.path = path
        self.place = place
        self.gate = Gate(blocks=place.blocks)
        self.armed = True
        self.ran: list[str] = []
        self.jobs: list[WorkItem[bool]] = []
        self.handler: LocalStateHandler | OwnHandler = LocalStateHandler(path)
        if place.own:
            self.handler = AsyncOwn(self) if place.colour == "async" else SyncOwn(self)

    def flow(self) -> CheckpointFlow:
        """Make the flow anew, as the next process would."""
        handler = self.handler if self.place.own else GatedHandler(self)
        cp = CheckpointFlow(self.path, handler=handler, hooks=[self.hook])
        for name in NAMES:
            colour = "async" if name != "b" or self.place.own else self.place.colour
            load, step, save = (self._part(part, name, colour) for part in ("load", "step", "save"))
            cp.add_step(load, save, name=name)(step)
        return cp

    def start(self) -> Any:  # noqa: ANN401 - a coroutine
        """Begin or go on, with every loader."""
        return self.flow().arun(state_after(0), "always")

    def is_held(self, spot: str) -> bool:
        """Whether the run is to be held here, now, for the first time."""
        held = self.armed and spot == self.place.spot
        self.armed = self.armed and not held
        return held

    def come_by(self, spot: str) -> None:
        """Come by a spot in a thread."""
        if self.is_held(spot):
            self.gate.hold()

    async def acome_by(self, spot: str) -> None:
        """Come by a spot on the loop."""
        if self.is_held(spot):
            await self.gate.ahold()

    async def hook(self, event: events.Event) -> None:
        """Be held in a hook; or notice that what comes next is held in a full pool."""
        spot = f"{type(event).__name__} {getattr(event, 'step', '')}"
        if self.is_held(f"queue after {spot}"):
            for threads in (DEFAULT_STEP_THREADS, SNAPSHOTS):
                self.fill(threads)
            self.gate.next_step.set()
        await self.acome_by(spot)

    def fill(self, threads: Threads) -> None:
        """Give all of these threads work that ends when the gate is opened."""
        loop = asyncio.get_running_loop()
        for _ in range(MORE_THAN_ANY_POOL):
            item = WorkItem(self.gate.opened.wait, (PATIENCE,), loop)
            threads.put(item)
            self.jobs.append(item)

    def clear(self) -> None:
        """Wait until the threads are free."""
        for job in self.jobs:
            job.block()

    def header(self) -> Header | None:
        """Read the header of what is stored."""
        return LocalStateHandler(self.path).header()

    def _part(self, part: str, name: str, colour: str) -> Callable[..., Any]:
        spot = f"{part} {name}"

        def body(state: State) -> State | None:
            self.ran.append(spot)
            if part != "save":
                key = "trail" if part == "step" else "loaded"
                state[key] = [*state[key], name]
            return {name: part} if part == "load" else None

        def sync(state: State) -> State | None:
            loaded = body(state)
            self.come_by(spot)
            return loaded

        async def coroutine(state: State) -> State | None:
            loaded = body(state)
            await self.acome_by(spot)
            return loaded

        def giving(state: State) -> Awaitable[State | None]:
            return coroutine(state)

        return {"sync": sync, "async": coroutine, "giving": giving}[colour]


class GatedHandler(LocalStateHandler):
    """A real local handler that comes by the scene's spots."""

    def __init__(self, scene: Scene) -> None:
        """Use the scene's path, without waiting for the disk."""
        super().__init__(scene.path, fsync=False)
        self._scene = scene
        self._written = 0

    def open(
        self, run_id: str | None = None, kept: tuple[int, int] | None = None
    ) -> BinaryIO | None:
        """Be held before reading."""
        self._scene.come_by("reading")
        return super().open(run_id, kept)

    def replace(
        self,
        run_id: str | None,
        emit: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Be held before or after writing the n-th snapshot of this run."""
        self._written += 1
        number = self._written
        self._scene.come_by(f"before snapshot {number}")
        result = super().replace(run_id, emit, amends, lock=lock)
        self._scene.come_by(f"after snapshot {number}")
        return result

    def lock(self, run_id: str | None = None) -> Lock:  # type: ignore[override]
        """Give a lock that is slow to take or to release."""
        return _GatedLock(super().lock(run_id), self._scene)


class _GatedLock:
    def __init__(self, lock: Lock, scene: Scene) -> None:
        self._lock = lock
        self._scene = scene

    @property
    def held(self) -> bool:
        return self._lock.held

    def acquire(self) -> None:
        self._scene.come_by("before locking")
        self._lock.acquire()
        self._scene.come_by("after locking")

    def release(self) -> None:
        self._scene.come_by("before release")
        self._lock.release()
        self._scene.come_by("after release")


class OwnHandler:
    """What a user's own handlers keep."""

    def __init__(self, scene: Scene) -> None:
        """Begin with nothing stored."""
        self.scene = scene
        self.kept: State = {}
        self.written = 0


class SyncOwn(OwnHandler):
    """A user's own handler of sync methods."""

    def read(self) -> State:
        """Give what is kept."""
        self.scene.come_by("reading")
        return self.kept

    def write(self, state: State) -> None:
        """Keep a state."""
        self.written += 1
        self.scene.come_by(f"before snapshot {self.written}")
        self.kept = state


class AsyncOwn(OwnHandler):
    """A user's own handler of async methods."""

    async def read(self) -> State:
        """Give what is kept."""
        await self.scene.acome_by("reading")
        return self.kept

    async def write(self, state: State) -> None:
        """Keep a state."""
        self.written += 1
        await self.scene.acome_by(f"before snapshot {self.written}")
        self.kept = state


NOTHING = {"position": None, "status": ""}

PLACES = {
    "load-async": Place("load b", part="load"),
    "load-sync": Place("load b", "sync", blocks=True, part="load"),
    "load-giving": Place("load b", "giving", part="load"),
    "step-async": Place("step b", part="step"),
    "step-sync": Place("step b", "sync", blocks=True, part="step"),
    "step-giving": Place("step b", "giving", part="step"),
    "step-queued": Place("queue after StepLoaded b", "sync", part="step"),
    "save-async": Place("save b", part="save"),
    "save-sync": Place("save b", "sync", blocks=True, part="save"),
    "save-giving": Place("save b", "giving", part="save"),
    "hook-before-b": Place("StepStarted b", part="load"),
    "hook-after-b": Place("StepFinished b", part="save"),
    "start-snapshot-begun": Place("before snapshot 1", blocks=True, position=0, status="running"),
    "snapshot-begun": Place("before snapshot 3", blocks=True, position=2, part="snapshot"),
    "snapshot-written": Place("after snapshot 3", blocks=True, position=2, part="snapshot"),
    "snapshot-queued": Place("queue after StepFinished b", blocks=True, part="snapshot"),
    "last-snapshot-begun": Place("before snapshot 4", blocks=True, position=0, status="finished"),
    "last-snapshot-written": Place("after snapshot 4", blocks=True, position=0, status="finished"),
    "end-hook": Place("RunFinished ", position=0, status="finished"),
    "reading": Place("reading", blocks=True, position=None),
    "before-locking": Place("before locking", blocks=True, position=None),
    "after-locking": Place("after locking", blocks=True, position=None),
    "before-release": Place("before release", blocks=True, position=0, status="finished"),
    "after-release": Place("after release", blocks=True, position=0, status="finished"),
    "own-sync-read": Place("reading", "sync", blocks=True, position=None, own=True),
    "own-async-read": Place("reading", position=None, own=True),
    "own-sync-write": Place("before snapshot 3", "sync", blocks=True, position=2, own=True),
    "own-async-write": Place("before snapshot 3", blocks=True, position=2, own=True),
    "own-step": Place("step b", own=True),
}


async def check_resumes(scene: Scene) -> None:
    """See that the next run goes on behind the newest snapshot and ends as if undisturbed."""
    scene.ran.clear()
    assert await scene.start() == state_after(3)
    assert [spot for spot in scene.ran if spot.startswith("step")] == [
        f"step {name}" for name in NAMES[scene.place.position or 0 :]
    ]
