"""Runs that are in progress, as in a service: they wait in a step until a test releases them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiocheckpoint import current_step

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

    from interrupts import Latch
    from run_factories import Runs
    from support import State

    from aiocheckpoint import CheckpointFlow, Header, RunResult

LAST: State = {"trail": ["a", "b", "c"]}
Pair = tuple[str, dict[str, Any]]


@dataclass
class BlockingFlow:
    """A flow of a, b and c whose runs wait in b.

    Attributes:
        free: Releases the runs.
        latch: If given, the runs wait at it instead, each in a thread.
        effects: The steps that ended, with their runs, in order.
        inside: The runs that wait.
        most: The most runs that ever waited at once.
    """

    free: asyncio.Event = field(default_factory=asyncio.Event)
    latch: Latch | None = None
    effects: list[tuple[str | None, str]] = field(default_factory=list[tuple[str | None, str]])
    inside: set[str | None] = field(default_factory=set[str | None])
    most: int = 0
    _entered: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue[str | None])

    def flow(self, runs: Runs, **options: Any) -> CheckpointFlow:  # noqa: ANN401 (passed on as is)
        """Make the flow in a place."""
        cp = runs.empty_flow(**options)
        cp.add_step(name="a")(self._pass)
        cp.add_step(name="b")(self.hold if self.latch is None else self._hold_in_thread)
        cp.add_step(name="c")(self._pass)
        return cp

    async def arrivals(self, number: int) -> set[str | None]:
        """Wait until so many more runs have arrived; return their ids."""
        return {await self._entered.get() for _ in range(number)}

    async def start(self, cp: CheckpointFlow, *run_ids: str | None) -> list[asyncio.Task[State]]:
        """Start runs, and wait until each is in step b."""
        tasks = [asyncio.create_task(cp.arun({}, run_id=run_id)) for run_id in run_ids]
        await self.arrivals(len(tasks))
        return tasks

    def times(self, run_id: str | None) -> list[str]:
        """The steps of a run that ended, in order."""
        return [step for who, step in self.effects if who == run_id]

    async def _pass(self, state: State) -> None:
        self._note(state)

    async def hold(self, state: State) -> None:
        """Be a step that waits."""
        run_id = current_step().run_id
        self.inside.add(run_id)
        self.most = max(self.most, len(self.inside))
        self._entered.put_nowait(run_id)
        try:
            await self.free.wait()
        finally:
            self.inside.remove(run_id)
        self._note(state)

    def _hold_in_thread(self, state: State) -> None:
        assert self.latch is not None
        self.latch.hold()
        self._note(state)

    def _note(self, state: State) -> None:
        step = current_step()
        self.effects.append((step.run_id, step.step))
        state["trail"] = [*state.get("trail", ()), step.step]


async def pairs_of(states: dict[str, State]) -> AsyncGenerator[Pair, None]:
    """Give pairs of id and state one by one."""
    for pair in states.items():
        yield pair


async def collect(results: AsyncIterator[RunResult]) -> dict[str | None, RunResult]:
    """Collect all results by id, one for each run."""
    found = [result async for result in results]
    by_id = {result.run_id: result for result in found}
    assert len(by_id) == len(found)
    return by_id


def statuses(cp: CheckpointFlow, run_ids: Iterable[str | None]) -> list[str | None]:
    """The status of each run; None for a run without a snapshot."""
    found: list[Header | None] = [cp.handler.header(run_id) for run_id in run_ids]
    return [None if header is None else header.status for header in found]


async def alone() -> None:
    """Wait until no other task is left."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)
