"""Queued runs: where they start, with which state, and what lists and patches make of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from run_factories import listed
from stored_runs import queue_run

from aiocheckpoint import PauseConflictError, StateConflictError
from aiocheckpoint.events import RunFinished, SnapshotWritten

if TYPE_CHECKING:
    from run_factories import Runs
    from support import Runner


@pytest.mark.parametrize("how", ["arun", "given", "once", "resume"])
def test_starts_as_stored(how: str, runs: Runs, runner: Runner) -> None:
    """A queued run begins with its stored state, number and time, and no second first snapshot."""
    cp = runs.flow()
    queued = queue_run(cp, "x", {"n": 1})
    match how:
        case "resume":
            state = runner.do(cp, "resume", "x")
        case "once":
            state = runner(cp, {"n": 1}, run_id="x", once=True)
        case "given":
            state = runner(cp, {"n": 1}, run_id="x")
        case _:
            state = runner(cp, run_id="x")
    assert (state["n"], runs.ran()) == (1, ["a", "b", "c"])
    header = cp.handler.header("x")
    assert (header.status, header.number, header.started_at) == ("finished", 1, queued.started_at)
    assert header.sequence == queued.sequence + 3
    assert len([one for one in runs.events if isinstance(one, SnapshotWritten)]) == 3
    assert [one.status for one in runs.events if isinstance(one, RunFinished)] == ["finished"]


@pytest.mark.parametrize("conflict", ["warn", "raise"])
@pytest.mark.parametrize("options", [{}, {"once": True}, {"checkpoint": "b"}], ids=repr)
def test_takes_no_other_state(
    conflict: str, options: dict[str, object], durable_runs: Runs, runner: Runner
) -> None:
    """Another state than the queued one is refused whatever `conflict=` says, and nothing runs."""
    cp = durable_runs.flow(conflict=conflict)
    queued = queue_run(cp, "x", {"n": 1})
    with pytest.raises(StateConflictError, match=r"queued run .* was submitted with another") as e:
        runner(cp, {"n": 2}, run_id="x", **options)
    assert (e.value.run_id, durable_runs.log) == ("x", [])
    if "once" not in options:
        plan = runner.plan(cp, {"n": 2}, run_id="x", **options)
        assert isinstance(plan.refused, StateConflictError)
    assert cp.handler.header("x") == queued
    assert [(one.status, one.starts, one.owner) for one in cp.runs()] == [("queued", 0, None)]
    state = runner(cp, {"n": 1}, run_id="x", **options)
    assert (state["n"], durable_runs.ran()) == (
        1,
        ["b", "c"] if "checkpoint" in options else list("abc"),
    )


def test_given_state_after_the_first_step(durable_runs: Runs, runner: Runner) -> None:
    """A run that has got on is one as others: another state is passed over with a warning."""
    cp = durable_runs.flow()
    queue_run(cp, "x", {"n": 1})
    runner(cp, run_id="x", until="a")
    assert runner(cp, {"n": 2}, run_id="x")["n"] == 1


def test_plan(durable_runs: Runs, runner: Runner) -> None:
    """The plan of a queued run says so, and does not begin it."""
    cp = durable_runs.flow()
    queue_run(cp, "x", {"n": 1})
    plan = runner.plan(cp, run_id="x")
    assert (plan.start, plan.source, plan.fresh, plan.from_queue) == (0, "stored", False, True)
    assert "the run was queued, and has not begun" in str(plan)
    assert listed(runner, cp, "queued") == ["x"]


def test_steps_of_a_later_release(durable_runs: Runs, runner: Runner) -> None:
    """A run that has not begun stands at no step: it runs the steps as they are by then."""
    queue_run(durable_runs.flow("a", "b"), "x", {"n": 1})
    runner(durable_runs.flow("new", "b", "c"), run_id="x")
    assert durable_runs.ran() == ["new", "b", "c"]


def test_failure_in_its_first_step(runs: Runs, runner: Runner) -> None:
    """A queued run that breaks in its first step is a failed one, and goes on."""
    cp = runs.flow()
    queue_run(cp, "x", {"n": 1}, due=5.0)
    runs.faults["step a"] = OSError("broken")
    with pytest.raises(OSError, match="broken"):
        runner(cp, run_id="x")
    header = cp.handler.header("x")
    assert (header.status, header.starts) == ("failed", 1)
    assert header.due > header.written_at  # Its time in the queue is over, and it waits anew.
    assert listed(runner, cp, "queued") == []
    runs.faults.clear()
    assert runner(cp, run_id="x")["n"] == 1


def test_cancelled_in_its_first_step(durable_runs: Runs, runner: Runner) -> None:
    """A queued run whose first step is cancelled is a cancelled one."""
    cp = durable_runs.flow()
    queue_run(cp, "x", {"n": 1})
    durable_runs.faults["step a"] = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        runner(cp, run_id="x")
    assert cp.handler.header("x").status == "cancelled"


def test_is_shown_running_from_the_claim_on(runs: Runs, runner: Runner) -> None:
    """A queued run that has begun its first step is running for all who look."""
    cp = runs.flow()
    seen: list[tuple[str, int]] = []

    @cp.add_step(before="a")
    def look(_state: object) -> None:
        header = cp.handler.header("x")
        seen.append((header.status, header.starts))
        seen.extend((one.status, one.starts) for one in cp.runs(["queued", "running"]))

    queue_run(cp, "x", {"n": 1})
    runner(cp, run_id="x")
    assert seen == [("running", 1)] * 2


def test_patch_leaves_it_queued(runs: Runs, runner: Runner) -> None:
    """A patch of values leaves a run in the queue. One of the position takes it out."""
    cp = runs.flow()
    queue_run(cp, "x", {"n": 1}, due=5.0)
    header = runner.do(cp, "patch", {"n": 2}, run_id="x")
    assert (header.status, header.due, header.stopped_by) == ("queued", 5.0, None)
    header = runner.do(cp, "patch", {}, "b", run_id="x")
    assert (header.status, header.due, header.stopped_by) == ("stopped", None, "patch")
    assert (runner(cp, run_id="x")["n"], runs.ran()) == (2, ["b", "c"])


def test_answer_is_early(durable_runs: Runs, runner: Runner) -> None:
    """A queued run may pause yet, so that an answer to it is early."""
    cp = durable_runs.flow()
    queue_run(cp, "x", {"n": 1})
    with pytest.raises(PauseConflictError, match="'queued'") as caught:
        runner(cp, run_id="x", update={"n": 2})
    assert caught.value.early
    assert cp.handler.header("x").status == "queued"


def test_migrated_before_it_begins(durable_runs: Runs, runner: Runner) -> None:
    """A run that an older version queued is migrated once, and begins with the first step."""
    queue_run(durable_runs.flow("a", "b", version=1), "x", {"n": 1}, version=1)
    calls: list[int] = []

    def migrate(state: dict[str, object], version: int) -> None:
        calls.append(version)
        state["n"] = 2

    cp = durable_runs.flow("new", "b", version=2, migrate=migrate)
    assert runner(cp, {"n": 1}, run_id="x")["n"] == 2
    assert (calls, durable_runs.ran()) == ([1], ["new", "b"])
    assert cp.handler.header("x").version == 2
