"""A stream left early cancels its run as `task.cancel()` does, and the run can be resumed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from blocking_flow import LAST, BlockingFlow, alone
from interrupts import WAYS, Latch, this_task
from support import NAMES

from aiocheckpoint import CheckpointFlow
from aiocheckpoint.events import Event, Hook, SnapshotWritten

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from run_factories import Runs
    from support import FlowFactory, State

EVENTS = 2 + 4 * len(NAMES) + 1
"""How many an undisturbed run of the factory's flow emits."""


@dataclass
class HoldingHook:
    """A hook that holds a run at one event, which the stream then does not yield.

    Attributes:
        at: Index of that event. The index after the last event holds the run at its end.
        reported: The events so far.
        reached: Set when the run is held, or has emitted its last event.
    """

    at: int
    reported: list[Event] = field(default_factory=list[Any])
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, event: Event) -> None:
        """Record an event, and hold the run at the chosen one."""
        self.reported.append(event)
        if len(self.reported) == EVENTS:
            self.reached.set()
        if len(self.reported) == self.at + 1:
            self.reached.set()
            await asyncio.get_running_loop().create_future()

    @property
    def acknowledged(self) -> int:
        """Return the number of steps with a reported snapshot, the held event included."""
        return max(sum(isinstance(one, SnapshotWritten) for one in self.reported) - 1, 0)


async def in_a_block(cp: CheckpointFlow, holding_hook: HoldingHook) -> None:
    """Leave the loop where the run is held, under `aclosing`."""
    async with aclosing(cp.astream({}, "always")) as stream:
        for _ in range(holding_hook.at):
            await anext(stream)
        await holding_hook.reached.wait()


async def by_break(cp: CheckpointFlow, holding_hook: HoldingHook) -> None:
    """Leave it there by `break`, and wait until no task is left."""
    got = 0
    async for _ in cp.astream({}, "always"):
        got += 1
        if got == holding_hook.at:
            await holding_hook.reached.wait()
            break
    await alone()


@pytest.mark.parametrize(("leave", "asynchronous"), [(in_a_block, True), (by_break, False)])
@pytest.mark.parametrize("number", range(1, EVENTS + 1))
async def test_closed_at_every_event(
    number: int,
    leave: Callable[[CheckpointFlow, HoldingHook], Awaitable[None]],
    asynchronous: bool,  # noqa: FBT001
    flows: FlowFactory,
) -> None:
    """A run whose loop is left at any event is cancelled there, and resumes to the same result."""
    flows.asynchronous, holding_hook = asynchronous, HoldingHook(number)
    await leave(with_hook(flows, holding_hook), holding_hook)
    assert asyncio.all_tasks() == {this_task()}
    done, header = holding_hook.acknowledged, flows.header()
    assert header.position == done % len(NAMES)
    assert header.status == ("finished" if done == len(NAMES) else "cancelled")
    last = await flows.flow().arun({}, "always", once=True)
    assert last == {"trail": [*NAMES], "loads": [*NAMES]}
    assert [flows.ran().count(name) for name in NAMES[:done]] == [1] * done
    assert flows.header().number == 1


def with_hook(flows: FlowFactory, hook: Hook) -> CheckpointFlow:
    """Make the factory's flow with another hook."""
    cp = CheckpointFlow(flows.path, hooks=[hook], fsync=False)
    for name in NAMES:
        flows.add(cp, name)
    return cp


async def loop_over(cp: CheckpointFlow, **options: Any) -> None:  # noqa: ANN401 (passed on as is)
    """Loop over all events."""
    async for _ in cp.astream({}, run_id="x", **options):
        pass


@pytest.mark.parametrize("way", WAYS)
async def test_waits_for_threads(way: str, database: Runs) -> None:
    """A cancelled loop waits for the running sync step, and stores the run."""
    blocking_flow = BlockingFlow(latch=Latch(blocks=True))
    cp, latch = blocking_flow.flow(database), blocking_flow.latch
    assert latch is not None
    await WAYS[way](latch, lambda: loop_over(cp))
    assert latch.passed.is_set()
    assert cp.handler.header("x").status == "cancelled"
    assert await cp.arun(run_id="x") == LAST


async def test_closed_while_the_run_waits_for_the_loop(runs: Runs) -> None:
    """A run that is as far ahead of the loop as permitted is cancelled there."""
    far, reported = asyncio.Event(), list[Event]()

    def hook(event: Event) -> None:
        reported.append(event)
        if len(reported) == 18:
            far.set()

    cp = runs.empty_flow(hooks=[hook])
    for index in range(10):
        cp.add_step(name=str(index), thread=False)(count)
    async with aclosing(cp.astream({"n": 0}, run_id="x")) as stream:
        await anext(stream)
        await far.wait()
    assert asyncio.all_tasks() == {this_task()}
    assert cp.handler.header("x").status == "cancelled"
    assert await cp.arun(run_id="x") == {"n": 10}


async def count(state: State) -> None:
    """A step that counts its calls."""
    state["n"] += 1


async def test_cancelled_in_the_body(runs: Runs) -> None:
    """Cancelling the loop's task between two events cancels the run at the end of the block."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(runs)

    async def loop() -> None:
        async with aclosing(cp.astream({}, run_id="x")) as stream:
            async for _ in stream:
                await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(loop())
    await blocking_flow.arrivals(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {this_task()}
    assert cp.handler.header("x").status == "cancelled"
    blocking_flow.free.set()
    assert await cp.arun(run_id="x") == LAST


async def test_cancelled_while_it_waits_for_its_turn(runs: Runs) -> None:
    """Cancelling a stream that waits for another run of its id does not affect that run."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(runs)
    (other,) = await blocking_flow.start(cp, "x")
    task = asyncio.create_task(loop_over(cp, wait=3_600))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    blocking_flow.free.set()
    assert await other == LAST
    assert blocking_flow.times("x") == LAST["trail"]


async def test_step_that_holds_off_the_cancellation(runs: Runs) -> None:
    """A step that ignores the cancellation ends its run well, for any number of further events."""
    cp, entered = runs.empty_flow(), asyncio.Event()

    @cp.add_step()
    async def stubborn(state: State) -> None:
        entered.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            state["n"] = 0

    for index in range(10):
        cp.add_step(name=str(index), thread=False)(count)
    async with aclosing(cp.astream({}, run_id="x")) as stream:
        await anext(stream)
        await entered.wait()
    assert cp.handler.header("x").status == "finished"
    assert (await cp.aread("x"))["n"] == 10


async def test_run_that_breaks_when_it_is_closed(runs: Runs) -> None:
    """An error that a step raises instead of the cancellation is stored, and not raised again."""
    cp, entered = runs.empty_flow(), asyncio.Event()

    @cp.add_step()
    async def clumsy(state: State) -> None:
        entered.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise LookupError("lost in the clearing")

    async with aclosing(cp.astream({}, run_id="x")) as stream:
        await anext(stream)
        await entered.wait()
    assert cp.handler.header("x").status == "failed"
