"""A stream left before its end: its run is cancelled as by `task.cancel()`, and can be resumed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from blocking_flow import LAST, BlockingFlow, alone
from interrupts import WAYS, Gate, this_task
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
    """A hook that holds a run at the n-th event, which the stream then does not give.

    Attributes:
        at: Index of that event; it may be the one behind the last, where the run ends.
        reported: The events up to there.
        reached: Set when the run is held, or has told its last event.
    """

    at: int
    reported: list[Event] = field(default_factory=list[Any])
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, event: Event) -> None:
        """Take an event, and hold the run at the one."""
        self.reported.append(event)
        if len(self.reported) == EVENTS:
            self.reached.set()
        if len(self.reported) == self.at + 1:
            self.reached.set()
            await asyncio.get_running_loop().create_future()

    @property
    def acknowledged(self) -> int:
        """How many steps' snapshots were told of, the held event included."""
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
async def test_left_at_every_event(
    number: int,
    leave: Callable[[CheckpointFlow, HoldingHook], Awaitable[None]],
    asynchronous: bool,  # noqa: FBT001
    flows: FlowFactory,
) -> None:
    """Whichever event the loop is left at, the run ends there, and goes on as if undisturbed."""
    flows.asynchronous, holding_hook = asynchronous, HoldingHook(number)
    await leave(with_hook(flows, holding_hook), holding_hook)
    assert asyncio.all_tasks() == {this_task()}
    done, header = holding_hook.acknowledged, flows.header()
    assert header.position == done % len(NAMES)
    assert header.status == status_of(number, done)
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


def status_of(number: int, done: int) -> str:
    """How a run stands that was cancelled behind so many events and acknowledged steps."""
    if done == len(NAMES):
        return "finished"
    return "running" if number == 1 else "cancelled"  # it was in no step yet


async def loop_over(cp: CheckpointFlow, **options: Any) -> None:  # noqa: ANN401 (passed on as is)
    """Loop over all events."""
    async for _ in cp.astream({}, run_id="x", **options):
        pass


@pytest.mark.parametrize("way", WAYS)
async def test_waits_for_threads(way: str, database: Runs) -> None:
    """However the loop is cancelled, it waits for a sync step under way, and stores the run."""
    blocking_flow = BlockingFlow(gate=Gate(blocks=True))
    cp, gate = blocking_flow.flow(database), blocking_flow.gate
    assert gate is not None
    await WAYS[way](gate, lambda: loop_over(cp))
    assert gate.passed.is_set()
    assert cp.handler.header("x").status == "cancelled"
    assert await cp.arun(run_id="x") == LAST


async def test_left_while_the_run_waits_for_the_loop(runs: Runs) -> None:
    """A run that is as far ahead as it may be is cancelled there."""
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
    """Be a step that shows how often steps were done."""
    state["n"] += 1


async def test_cancelled_in_the_body(runs: Runs) -> None:
    """When the loop's task is cancelled between two events, the run is cancelled with the block."""
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
    """A stream that waits for another run of its id ends, and the other does not notice."""
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
    """A step that goes on when it is cancelled ends its run well, however much that has to tell."""
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


async def test_run_that_breaks_when_it_is_left(runs: Runs) -> None:
    """What a step raises instead of the cancellation is stored, and not raised by the block."""
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
