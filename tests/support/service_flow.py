"""A flow with all that a service puts around its steps, interrupted wherever it suspends."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from suspension_points import LOOPS, NAMES, AwaitInterrupter, at_point

from aiocheckpoint import CheckpointFlow, LocalStateHandler, Pause, Retry
from aiocheckpoint._runs.core import FlowCore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from pathlib import Path

    from support import State

    from aiocheckpoint._engine.outcomes import RunOutcome

    Action = Callable[[Any], object]
    Interrupt = Callable[["ServiceFlow", int], Awaitable[int]]

RUN = "order"
AT_ONCE = Retry(attempts=3, wait_initial=0, wait_max=0, wait_jitter=0)
NEVER = 600.0
FEWEST_POINTS = 30


async def by_arun(cp: CheckpointFlow) -> None:
    """Await the run."""
    await cp.arun({"trail": []}, "always", run_id=RUN)


async def by_astream(cp: CheckpointFlow) -> None:
    """Follow its events."""
    async for _ in cp.astream({"trail": []}, "always", run_id=RUN):
        pass


async def by_amap(cp: CheckpointFlow) -> None:
    """Execute the run as one of many."""
    async for result in cp.amap({RUN: {"trail": []}}, "always"):
        assert result.error is None


RUNNERS: dict[str, Callable[[CheckpointFlow], Awaitable[None]]] = {
    "arun": by_arun,
    "astream": by_astream,
    "amap": by_amap,
}


class Points:
    """Points at which to interrupt, counted through several coroutines.

    Attributes:
        interrupted: The number of interruptions so far.
    """

    def __init__(self, numbers: Collection[int]) -> None:
        """Count from 1."""
        self._numbers = numbers
        self._count = 0
        self.interrupted = 0

    def __contains__(self, _: object) -> bool:
        """Whether the next one is to be interrupted."""
        self._count += 1
        self.interrupted += self._count in self._numbers
        return self._count in self._numbers

    def __iter__(self) -> Any:  # noqa: ANN401
        """Give the numbers."""
        return iter(self._numbers)

    def __len__(self) -> int:
        """The number of points."""
        return len(self._numbers)


class WatchedCore(FlowCore):
    """The core of a flow whose runs are interrupted, also in tasks of their own."""

    served: ServiceFlow

    async def run_async(self, *args: Any, **kwargs: Any) -> RunOutcome:  # noqa: ANN401
        """Run one request, and interrupt it where it runs in a task of its own."""
        run = super().run_async(*args, **kwargs)
        if asyncio.current_task() is self.served.task:
            return await run
        ended: Any = await AwaitInterrupter(run, self.served.points, self.served.action)
        return ended  # type: ignore[no-any-return]


@dataclass
class ServiceFlow:
    """A flow of three steps: each fails once, the second pauses for an update, all have limits.

    Attributes:
        place: The directory of its runs.
        method: The runner of a run.
        ran: The steps that were called.
        task: The task that awaits the run.
        points, action: The points of its interruption, and the way.
    """

    place: Path
    method: str
    ran: list[str] = field(default_factory=list[str])
    task: asyncio.Task[Any] | None = None
    points: Points = field(default_factory=lambda: Points(()))
    action: Action = print

    def flow(self) -> CheckpointFlow:
        """Make the flow, as another process would."""
        failing: set[str] = {*NAMES}
        cp = CheckpointFlow(f"{self.place}/", name="served", fsync=False, keep_data=True)
        core = cp._core  # noqa: SLF001
        core.__class__ = WatchedCore
        vars(core)["served"] = self

        def step(name: str, state: State, data: State) -> None:
            self._enter(name, state, data, failing)
            state["last"] = name

        async def astep(name: str, state: State, data: State) -> None:
            await asyncio.sleep(0)
            self._enter(name, state, data, failing)
            await asyncio.sleep(0)
            state["last"] = name

        limited: dict[str, Any] = {"retry": AT_ONCE, "timeout": NEVER}
        cp.add_step(_load, _save, name="a", **limited)(partial(astep, "a"))
        cp.add_step(name="b", retry=AT_ONCE)(partial(step, "b"))
        cp.add_step(_load, _save, name="c", **limited)(partial(astep, "c"))
        return cp

    async def interrupted_at(self, points: Collection[int], action: Action) -> int:
        """Start; interrupt at the n-th suspension; return how often it was interrupted."""
        self.points, self.action, self.task = Points(points), action, asyncio.current_task()
        await AwaitInterrupter(self.round_trip(), self.points, action)
        return self.points.interrupted

    async def round_trip(self) -> State:
        """Start or resume, until it has ended."""
        cp = self.flow()
        if not self.waits():
            await RUNNERS[self.method](cp)
        if self.waits():
            await cp.arun(run_id=RUN, update={"told": True})
        return cp.handler.read(RUN) if not self.waits() else {}

    def waits(self) -> bool:
        """Whether it is stored as paused."""
        header = self.handler.header(RUN)
        return header is not None and header.status == "paused"

    @property
    def handler(self) -> LocalStateHandler:
        """A handler on the store, as another process would make it."""
        return LocalStateHandler(f"{self.place}/", fsync=False, flow="served")

    def _enter(self, name: str, state: State, data: State, failing: set[str]) -> None:
        done = NAMES[: NAMES.index(name)]
        assert state["trail"] == [*done], "an attempt begins with the state as it was"
        assert data.get("done", []) == [*done], "and with the data"
        self.ran.append(name)
        state["trail"], data["done"] = [*state["trail"], name], [*done, name]
        if name in failing:
            failing.remove(name)
            raise ConnectionError(name)
        if name == "b" and "told" not in state:
            raise Pause("to be told")

    def check_left(self) -> None:
        """Check that a step boundary is stored, its header is true, and no other file is left."""
        assert [path.name for path in self.place.rglob("*") if path.suffix != ".pkl"] == []
        header, stored = self.handler.header(RUN), self.handler.read(RUN)
        if header is None:
            return
        done = len(stored["trail"])
        assert stored["trail"] == [*NAMES[:done]]
        assert stored.get("last") == (NAMES[done - 1] if done else None)
        assert header.position == stored["checkpoint_index"] == done % len(NAMES)
        assert (header.status == "finished") == (done == len(NAMES))
        assert (header.pause == "to be told") == (header.status == "paused")
        begun = [name for name, _ in itertools.groupby(self.ran)]
        assert begun in ([*NAMES[:done]], [*NAMES[: done + 1]])

    def check_resumes(self, runner: asyncio.Runner) -> None:
        """Check that the steps left are executed, and it ends as if undisturbed."""
        header = self.handler.header(RUN)
        if header is None or not header.finished:
            done = 0 if header is None else header.position
            self.ran.clear()
            end = runner.run(self.round_trip())
            assert [name for name, _ in itertools.groupby(self.ran)] == [*NAMES[done:]]
        else:
            end = self.handler.read(RUN)
        end = {key: end[key] for key in ("trail", "told", "last")}
        assert end == {"trail": [*NAMES], "told": True, "last": "c"}


async def _load(state: State) -> State:
    await asyncio.sleep(0)
    return {"loaded": True}


async def _save(state: State) -> None:
    await asyncio.sleep(0)


def interrupt_everywhere(
    place: Path, method: str, loop: str, interrupt: Interrupt, stride: int = 1
) -> None:
    """Interrupt a run at each point in turn, until none is left, and check the rest."""
    for number in itertools.count(1, stride):
        served = ServiceFlow(place / str(number), method)
        with at_point(number), LOOPS[loop]() as runner:
            if not runner.run(_checked(served, interrupt, number)):
                break
            served.check_left()
            served.check_resumes(runner)
    assert number > FEWEST_POINTS


async def _checked(served: ServiceFlow, interrupt: Interrupt, number: int) -> int:
    """Interrupt, and see that no task outlives it."""
    before = asyncio.all_tasks()
    interrupted = await interrupt(served, number)
    assert interrupted == served.points.interrupted
    assert asyncio.all_tasks() == before
    served.points = Points(())
    return interrupted
