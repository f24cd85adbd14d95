"""A run resumed in another process keeps its data and its count of attempts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from run_factories import resume_all

from aiocheckpoint import CheckpointFlow, DrainingError, Pause, Retry, current_step
from aiocheckpoint.events import RunStarted

if TYPE_CHECKING:
    from run_factories import Runs
    from support import FlowFactory, Runner, State

AT_ONCE = Retry(attempts=2, wait_initial=0, wait_max=0, wait_jitter=0)


def test_stored_data_come_back_when_all_are_resumed(runs: Runs) -> None:
    """Under `keep_data=True` resuming all runs calls no loader either."""
    loaded: list[str] = []
    broken = [True]

    def flow() -> CheckpointFlow:
        cp = runs.empty_flow(keep_data=True)

        def load(state: State) -> State:
            loaded.append(current_step().step)
            return {"rows": [1, 2]}

        cp.add_step(load=load, name="a")(lambda state, data: data["rows"].append(3))

        @cp.add_step(load=load, name="b")
        def use(state: State, data: State) -> None:
            state["rows"] = data["rows"]
            if broken:
                raise ConnectionError

        return cp

    with pytest.raises(ConnectionError):
        flow().run({}, run_id="x")
    broken.clear()
    assert resume_all(flow())["x"].state == {"rows": [1, 2, 3]}
    assert loaded == ["a"]


def test_a_pause_is_an_attempt_that_is_counted(runner: Runner, flows: FlowFactory) -> None:
    """A run continued after a pause counts on from the attempts at its step."""
    seen: list[tuple[int, str]] = []
    fate = ["fail", "pause", "fail", "pause", "break", "end"]

    def flow() -> CheckpointFlow:
        cp = CheckpointFlow(flows.path, fsync=False)

        @cp.add_step(retry=AT_ONCE)
        def approve(state: State) -> None:
            seen.append((current_step().attempt, fate[0]))
            match fate.pop(0):
                case "fail":
                    raise ConnectionError
                case "pause":
                    raise Pause("waits")
                case "break":
                    raise KeyboardInterrupt
                case _:
                    pass

        return cp

    runner(flow(), {})
    runner(flow(), update={"told": 1})
    with pytest.raises((KeyboardInterrupt, asyncio.CancelledError)):
        runner(flow(), update={"told": 2})
    runner(flow())
    assert [attempt for attempt, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert flows.header().attempts == {"approve": 6}


async def test_a_run_that_waits_is_still_waiting_behind_a_drain(flows: FlowFactory) -> None:
    """A paused run that is drained when it starts again stays paused, and accepts `update=`."""

    def flow(*hooks: object) -> CheckpointFlow:
        cp = CheckpointFlow(flows.path, fsync=False, hooks=hooks)  # type: ignore[arg-type]

        @cp.add_step()
        def approve(state: State) -> None:
            if "told" not in state:
                raise Pause("to be told")

        return cp

    async def drain(event: object) -> None:
        if isinstance(event, RunStarted):
            drains.append(asyncio.create_task(drained.adrain()))
            await asyncio.sleep(0)

    drains: list[asyncio.Task[list[str | None]]] = []
    drained = flow(drain)
    await flow().arun()
    before = flows.header()
    with pytest.raises(DrainingError):
        await drained.arun()
    assert await drains[0] == []
    assert flows.header() == before
    assert await flow().arun(update={"told": True}) == {"told": True}


async def test_a_resumed_run_waits_no_longer(runs: Runs) -> None:
    """While the step of a paused run executes again, the run is "running". A kill resumes it."""
    cp, seen = runs.empty_flow(), list[str]()

    @cp.add_step()
    async def approve(state: State) -> None:
        header = await cp.aheader("x")
        assert header is not None
        seen.append(header.status)
        raise Pause("to be told")

    for _ in range(3):
        await cp.arun(run_id="x")
    assert seen == ["running"] * 3
    assert [header.status for header in await cp.aruns()] == ["paused"]


async def test_hook_that_pauses(runs: Runs) -> None:
    """A hook cannot pause. Its exception is logged, as with every hook."""

    def hook(event: object) -> None:
        raise Pause("by a hook")

    cp = runs.empty_flow(hooks=[hook])
    cp.add_step(name="a")(lambda state: state.update(a=1))
    assert await cp.arun(run_id="x") == {"a": 1}
    assert [header.status for header in await cp.aruns()] == ["finished"]


async def test_update_of_a_request_that_is_tried_again(runs: Runs) -> None:
    """An update in the first step is not lost when the request is repeated with its state."""
    cp = runs.empty_flow()

    @cp.add_step()
    async def approve(state: State) -> None:
        if "told" not in state:
            raise Pause("to be told")
        if not tried:
            tried.append(True)
            raise ConnectionError

    tried = list[bool]()
    await cp.arun({"n": 1}, run_id="x", once=True)
    with pytest.raises(ConnectionError):
        await cp.arun(run_id="x", update={"told": True})
    assert await cp.arun({"n": 1}, run_id="x", once=True) == {"n": 1, "told": True}
