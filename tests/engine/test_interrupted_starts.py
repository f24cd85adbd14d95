"""Runs that end between their start with `checkpoint=` and their first snapshot.

The stored names, position and state always belong to one and the same run.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from large_flows import NAMES as MANY
from large_flows import flow, renamed, stored
from support import Runner

from aiocheckpoint import DrainingError, FlowChangedError, Pause
from aiocheckpoint._model.step_names import StepNames
from aiocheckpoint.events import RunStarted, StepStarted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from run_factories import Runs
    from support import State

    from aiocheckpoint import CheckpointFlow, Header
    from aiocheckpoint.events import Event

FEW = ("a", "b", "c", "d")
LEFT = 2
"""Where the run before was left, at the third step."""

RUNNER = Runner("arun")

sizes = pytest.mark.parametrize("names", [FEW, MANY], ids=["few", "many"])
ways_on = pytest.mark.parametrize("checkpoint", [1, 3], ids=["back", "ahead"])


def leave(runs: Runs, runner: Runner, names: Sequence[str]) -> Header:
    """Stop a run "x", and give its header."""
    runner(flow(runs, names), {"n": 1}, run_id="x", until=LEFT - 1)
    runs.log.clear()
    return stored(runs)


def draining(runs: Runs, names: Sequence[str], **options: Any) -> CheckpointFlow:  # noqa: ANN401 (passed on as is)
    """Make a flow that starts to drain when a run of it starts."""

    def drain(event: Event) -> None:
        if isinstance(event, RunStarted):
            cp.drain()

    cp = flow(runs, names, hooks=[drain], **options)
    return cp


def check_resumes(runs: Runs, runner: Runner, names: Sequence[str], checkpoint: int) -> None:
    """Check that the run resumes where `checkpoint=` moved it, and by the new names only."""
    assert (stored(runs).position, stored(runs).next_step) == (checkpoint, names[checkpoint])
    assert runs.empty_flow().read("x") == {"n": 1, "checkpoint_index": checkpoint}
    runs.log.clear()
    with pytest.raises(FlowChangedError):
        runner(flow(runs, renamed(0, names=names)), run_id="x")
    assert runner(flow(runs, names), run_id="x") == {"n": 1}
    assert runs.ran() == list(names[checkpoint:])


@sizes
@ways_on
def test_drained(
    checkpoint: int, names: tuple[str, ...], runner: Runner, durable_runs: Runs
) -> None:
    """A run drained before its first step keeps its `checkpoint=` and the names of its steps."""
    leave(durable_runs, runner, names)
    changed = renamed(0, names=names)
    with pytest.raises(DrainingError):
        runner(draining(durable_runs, changed), run_id="x", checkpoint=checkpoint)
    assert (stored(durable_runs).status, durable_runs.log) == ("stopped", [])
    check_resumes(durable_runs, runner, changed, checkpoint)


@sizes
@ways_on
@pytest.mark.parametrize("error", [OSError, asyncio.CancelledError])
def test_broken_in_the_first_loader(
    error: type[BaseException],
    checkpoint: int,
    names: tuple[str, ...],
    runner: Runner,
    durable_runs: Runs,
) -> None:
    """A run whose first loader raises, or is cancelled, keeps its `checkpoint=` as well."""
    leave(durable_runs, runner, names)
    changed = renamed(0, names=names)

    def load(state: State) -> State:
        state["changed"] = True
        raise error

    cp = flow(durable_runs, changed)
    cp.add_step(load=load, name=changed[checkpoint], replace=True)(lambda state: None)
    with pytest.raises(error):
        runner(cp, run_id="x", checkpoint=checkpoint)
    failure = stored(durable_runs).failure
    assert failure is not None
    assert (failure.step, failure.part) == (changed[checkpoint], "load")
    check_resumes(durable_runs, runner, changed, checkpoint)


@sizes
def test_cancelled_before_its_start_is_stored(names: tuple[str, ...], durable_runs: Runs) -> None:
    """A run cancelled before its start is stored leaves the earlier run unchanged."""
    before = leave(durable_runs, RUNNER, names)
    changed = renamed(0, names=names)

    async def cancelled() -> None:
        async def hook(event: Event) -> None:
            if isinstance(event, RunStarted):
                task.cancel()
                await asyncio.sleep(0)

        cp = flow(durable_runs, changed, hooks=[hook])
        task = asyncio.create_task(cp.arun(run_id="x", checkpoint=3))
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert (stored(durable_runs), durable_runs.log) == (before, [])
    with pytest.raises(FlowChangedError):
        RUNNER(flow(durable_runs, changed), run_id="x")


@sizes
def test_what_a_kill_leaves(names: tuple[str, ...], runner: Runner, durable_runs: Runs) -> None:
    """Before the start is stored, all but the status is old. Before a step begins, all is new."""
    before, changed = leave(durable_runs, runner, names), renamed(0, names=names)
    seen: dict[type[Event], Header] = {}
    cp = flow(
        durable_runs,
        changed,
        hooks=[lambda event: seen.setdefault(type(event), stored(durable_runs))],
    )
    runner(cp, run_id="x", checkpoint=3, until=3)
    assert seen[RunStarted] == replace(before, status="running")  # The claim has recorded that.
    begun = seen[StepStarted]
    assert (begun.status, begun.position, begun.next_step) == ("running", 3, changed[3])
    assert begun.matches_prefix(StepNames(changed), 3)


def test_paused_run_of_other_steps_waits_behind_a_drain(runner: Runner, durable_runs: Runs) -> None:
    """A drained run with `checkpoint=` leaves a paused run as it is, at its step."""

    def wait(state: State) -> None:
        raise Pause("to be told")

    cp = flow(durable_runs, FEW)
    cp.add_step(name="c", replace=True)(wait)
    runner(cp, {"n": 1}, run_id="x")
    before, changed = stored(durable_runs), renamed(0, names=FEW)
    with pytest.raises(DrainingError):
        runner(draining(durable_runs, changed), run_id="x", checkpoint=3)
    assert (stored(durable_runs), before.status) == (before, "paused")
    with pytest.raises(FlowChangedError):
        runner(flow(durable_runs, changed), run_id="x")


def test_drained_on_the_way_back_to_the_first_step(runner: Runner, durable_runs: Runs) -> None:
    """A finished run that is moved to its first step does not begin with its final state."""
    cp = durable_runs.empty_flow(keep="all")
    cp.add_step(name="a")(count)
    runner(cp, {"n": 1}, run_id="x")
    drained = draining(durable_runs, "a", keep="all")
    with pytest.raises(DrainingError):
        runner(drained, run_id="x", checkpoint="a")
    assert (stored(durable_runs).status, stored(durable_runs).number) == ("stopped", 1)
    assert durable_runs.empty_flow().read("x") == {"n": 1, "checkpoint_index": 0}
    assert runner(cp, run_id="x") == {"n": 2}


def count(state: State) -> None:
    """Count how often the step ran."""
    state["n"] += 1


def test_drained_with_its_data(runner: Runner, durable_runs: Runs) -> None:
    """The stored run has the data that it was moved with."""

    def made(cp: CheckpointFlow, names: Sequence[str]) -> CheckpointFlow:
        for name in names:
            cp.add_step(load=load, name=name, replace=True)(use)
        return cp

    def load(state: State) -> State:
        durable_runs.log.append("load")
        return {"rows": 0}

    def use(state: State, data: State) -> None:
        data["rows"] += 1
        state["rows"] = data["rows"]

    changed = renamed(0, names=FEW)
    runner(made(durable_runs.empty_flow(keep_data=True), FEW), {}, run_id="x", until=LEFT - 1)
    with pytest.raises(DrainingError):
        runner(
            made(draining(durable_runs, changed, keep_data=True), changed), run_id="x", checkpoint=3
        )
    assert runner(made(durable_runs.empty_flow(keep_data=True), changed), run_id="x") == {
        "rows": LEFT + 1
    }
    assert durable_runs.log == ["load"]
