"""`astream` yields the events of a run in order, as they happen, and then its exception."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from blocking_flow import LAST, BlockingFlow
from interrupts import this_task, turns
from run_factories import active_run
from support import NAMES, notes_of

from aiocheckpoint import CheckpointFlow, DrainingError, Pause, RunInProgressError, events
from aiocheckpoint.events import Event

if TYPE_CHECKING:
    from run_factories import Runs
    from support import FlowFactory, State


AHEAD = 16


def kinds(reported: list[Event]) -> list[str]:
    """Return the names of events, with the step's name for events of a step."""
    return [f"{type(one).__name__} {getattr(one, 'step', '')}".strip() for one in reported]


async def taken(
    stream: Any,  # noqa: ANN401 - a stream
    error: BaseException | type[BaseException],
) -> list[Event]:
    """Take all events of a run that ends with an error, and check that the error comes last."""
    reported, kind = list[Any](), error if isinstance(error, type) else type(error)
    with pytest.raises(kind) as info:  # noqa: PT012
        async for event in stream:
            reported.append(event)
    assert isinstance(error, type) or info.value is error
    return reported


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_in_order(asynchronous: bool, runs: Runs) -> None:  # noqa: FBT001
    """A stream yields the same event objects as a hook of the flow, in the same order."""
    runs.asynchronous = asynchronous
    cp = runs.flow("a", "b")
    reported = [event async for event in cp.astream({}, run_id="x")]
    assert reported == runs.events
    assert all(one is other for one, other in zip(reported, runs.events, strict=True))
    assert kinds(reported) == [
        *("RunStarted", "SnapshotWritten"),
        *("StepStarted a", "StepLoaded a", "StepFinished a", "SnapshotWritten"),
        *("StepStarted b", "StepFinished b", "SnapshotWritten", "RunFinished"),
    ]
    assert {(one.flow, one.run_id, one.number) for one in reported} == {(cp.name, "x", 1)}


async def test_as_they_happen(runs: Runs) -> None:
    """An event comes while its run continues."""
    blocking_flow, reported = BlockingFlow(), list[Event]()
    cp = blocking_flow.flow(runs)
    async for event in cp.astream({}, run_id="x"):
        reported.append(event)
        if kinds(reported)[-1] == "StepStarted b":
            assert await blocking_flow.arrivals(1) == {"x"}
            assert blocking_flow.times("x") == ["a"]
            blocking_flow.free.set()
    assert kinds(reported)[-1] == "RunFinished"
    assert blocking_flow.times("x") == LAST["trail"]


async def test_run_waits_for_the_loop(runs: Runs) -> None:
    """A run is never further ahead of the loop than permitted, however slow the loop is."""
    far, reported, got = asyncio.Event(), list[Event](), 0

    def hook(event: Event) -> None:
        reported.append(event)
        if len(reported) == 1 + AHEAD + 1:
            far.set()

    cp = many_steps(runs.empty_flow(hooks=[hook]), 30)
    async for _ in cp.astream({}, run_id="x"):
        got += 1
        if got == 1:
            await far.wait()
            await runs.flow().arun({}, run_id="meanwhile")
        await turns(5)
        assert len(reported) <= got + AHEAD + 1  # the last one waits in the queue
    assert got == len(reported) == 2 + 3 * 30 + 1


def many_steps(cp: CheckpointFlow, number: int) -> CheckpointFlow:
    """Add so many quick steps to a flow."""
    for index in range(number):
        cp.add_step(name=str(index), thread=False)(lambda state: None)
    return cp


async def test_run_that_breaks(runs: Runs) -> None:
    """The last event reports the failure. Then the run's own exception is raised, with its note."""
    error = runs.faults["step b"] = ConnectionError("away")
    cp = runs.flow()
    reported = await taken(cp.astream({}, run_id="x"), error)
    assert kinds(reported)[-2:] == ["StepStarted b", "StepFailed b"]
    assert isinstance(reported[-1], events.StepFailed)
    assert (reported[-1].error, reported[-1].cancelled) == (error, False)
    assert notes_of(error).count("'b', broke") == 1
    assert cp.handler.header("x").status == "failed"


@pytest.mark.parametrize("how", ["raises", "cancels"])
async def test_run_that_cancels_itself(how: str, runs: Runs) -> None:
    """A run cancelled from inside raises CancelledError in the loop. Its task is not cancelled."""
    cp = runs.empty_flow()

    @cp.add_step()
    async def leave(state: State) -> None:
        if how == "raises":
            raise asyncio.CancelledError
        this_task().cancel()
        await asyncio.sleep(0)

    reported = await taken(cp.astream({}, run_id="x"), asyncio.CancelledError)
    assert isinstance(reported[-1], events.StepFailed)
    assert reported[-1].cancelled
    assert this_task().cancelling() == 0
    assert cp.handler.header("x").status == "cancelled"


async def test_running_run_streamed(runs: Runs) -> None:
    """A stream of a run with another owner yields nothing, and raises the error that names it."""
    with active_run(runs.empty_flow(), "x"):
        assert await taken(runs.flow().astream(run_id="x"), RunInProgressError) == []


async def test_wait(runs: Runs) -> None:
    """With `wait=`, the stream waits until the other run has ended."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(runs)
    (task,) = await blocking_flow.start(cp, "x")
    stream = asyncio.create_task(whole(cp, "x", wait=60))
    await turns(5)
    blocking_flow.free.set()
    assert await task == LAST
    assert kinds(await stream)[-1] == "RunFinished"


async def whole(cp: CheckpointFlow, run_id: str, wait: float = 0) -> list[Event]:
    """Await a stream."""
    return await cp.astream({}, run_id=run_id, wait=wait)


async def test_arguments_are_those_of_run(runs: Runs) -> None:
    """`until`, `checkpoint`, `load_policy` and the state work as in `arun`."""
    cp = runs.flow()
    reported = await cp.astream({"mine": 1}, "always", run_id="x", until="b")
    assert isinstance(reported[-1], events.RunFinished)
    assert (reported[-1].status, reported[-1].position) == ("stopped", 2)
    assert runs.ran("load") == ["a", "b"]
    reported = await cp.astream(checkpoint="b", run_id="x")
    assert kinds(reported)[2] == "StepStarted b"
    assert (await cp.aread("x"))["mine"] == 1
    assert runs.ran() == ["a", "b", "b", "c"]


async def test_once(runs: Runs) -> None:
    """With `once=True`, a finished run yields no events, and runs nothing."""
    cp = runs.flow()
    assert len(await cp.astream({}, run_id="x", once=True)) > 0
    runs.log.clear()
    assert await cp.astream({}, run_id="x", once=True) == []
    assert runs.log == []


async def test_pause_and_update(runs: Runs) -> None:
    """A run that pauses ends its stream without an error. `update=` streams the rest."""
    cp = runs.empty_flow()

    @cp.add_step()
    async def approve(state: State) -> None:
        if "approved" not in state:
            raise Pause("who?")

    reported = await cp.astream({}, run_id="x")
    assert kinds(reported)[-2:] == ["StepPaused approve", "RunFinished"]
    reported = await cp.astream(run_id="x", update={"approved": True})
    assert isinstance(reported[-1], events.RunFinished)
    assert reported[-1].status == "finished"
    assert (await cp.aread("x"))["approved"] is True


async def test_drained(runs: Runs) -> None:
    """A drained run emits that it stopped. The stream then raises the error with the reason."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(runs)
    stream = asyncio.ensure_future(taken(cp.astream({}, run_id="x"), DrainingError))
    await blocking_flow.arrivals(1)
    drain = asyncio.ensure_future(cp.adrain())
    await turns(1)
    blocking_flow.free.set()
    last = (await stream)[-1]
    assert isinstance(last, events.RunFinished)
    assert (last.status, last.position, await drain) == ("stopped", 2, [])


async def test_hook_that_fails(flows: FlowFactory, caplog: pytest.LogCaptureFixture) -> None:
    """A failing hook of the flow is logged. The stream still yields every event."""

    async def hook(event: Event) -> None:
        raise LookupError(type(event).__name__)

    cp = many_steps(CheckpointFlow(flows.path, hooks=[hook]), 1)
    with caplog.at_level(logging.ERROR, "aiocheckpoint"):
        reported = await cp.astream({})
    assert kinds(reported)[-1] == "RunFinished"
    assert len([one for one in caplog.records if "a hook raised" in one.message]) == len(reported)


async def test_two_at_once(runs: Runs) -> None:
    """Each of two streams of one flow yields the events of its own run."""
    cp = runs.flow()
    both = await asyncio.gather(*(whole(cp, run_id) for run_id in "xy"))
    for run_id, reported in zip("xy", both, strict=True):
        assert {one.run_id for one in reported} == {run_id}
        assert len(reported) == 2 + 3 * len(NAMES) + 2
    assert len(runs.events) == sum(map(len, both))
