"""Terminated runs: refused by all calls but those that choose a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from run_factories import listed
from stored_runs import queue_run, terminate_run

from aiocheckpoint import CheckpointFlow, Pause, RunTerminatedError, adopt, inspect

if TYPE_CHECKING:
    from pathlib import Path

    from run_factories import Runs
    from support import Runner

CALLS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "run": ("run", (), {"run_id": "x"}),
    "given": ("run", ({"n": 1},), {"run_id": "x"}),
    "other": ("run", ({"n": 2},), {"run_id": "x"}),
    "once": ("run", ({"n": 1},), {"run_id": "x", "once": True}),
    "until": ("run", (), {"run_id": "x", "until": "b"}),
    "resume": ("resume", ("x",), {}),
    "answer": ("resume", ("x", {"n": 2}), {}),
    "update": ("run", (), {"run_id": "x", "update": {"n": 2}, "wait": 5}),
}


def terminated(runs: Runs, by: str = "hand") -> CheckpointFlow:
    """Leave a run "x" that was terminated at b."""
    cp = runs.flow()
    cp.run({"n": 1}, run_id="x", until="a")
    terminate_run(cp, "x", by)
    runs.log.clear()
    return cp


@pytest.mark.parametrize("call", CALLS)
def test_is_refused(call: str, durable_runs: Runs, runner: Runner) -> None:
    """A terminated run goes on by no call without a step. It is as it was, and says why."""
    cp = terminated(durable_runs)
    before = cp.handler.header("x")
    method, args, options = CALLS[call]
    with pytest.raises(RunTerminatedError, match=r"by hand.*: no such customer") as caught:
        runner.do(cp, method, *args, **options)
    error = caught.value
    assert (error.run_id, error.reason, error.by) == ("x", "no such customer", "hand")
    assert error.path == cp.handler.locate("x")
    assert (durable_runs.log, cp.handler.header("x")) == ([], before)
    assert [(one.status, one.starts, one.owner) for one in cp.runs()] == [("terminated", 0, None)]


@pytest.mark.parametrize("by", ["step", "hand", "starts", "later"])
def test_plan(by: str, durable_runs: Runs, runner: Runner) -> None:
    """The plan of a terminated run is a refusal, and says by what it was terminated."""
    cp = terminated(durable_runs, by)
    plan = runner.plan(cp, run_id="x")
    assert isinstance(plan.refused, RunTerminatedError)
    assert plan.refused.by == by
    assert "Runs nothing, and is refused with RunTerminatedError" in str(plan)
    assert not isinstance(runner.plan(cp, run_id="x", checkpoint="b").refused, Exception)


@pytest.mark.parametrize(("checkpoint", "ran"), [("b", "bc"), ("c", "c"), (0, "abc")])
def test_checkpoint_goes_on(
    checkpoint: str | int, ran: str, durable_runs: Runs, runner: Runner
) -> None:
    """With `checkpoint=` it goes on as others do, with its stored state."""
    cp = terminated(durable_runs)
    assert runner(cp, {"n": 2}, run_id="x", checkpoint=checkpoint)["n"] == 1
    header = cp.handler.header("x")
    assert (durable_runs.ran(), header.status) == (list(ran), "finished")
    assert (header.terminated_by, header.termination) == (None, None)


def test_checkpoint_ends_it_before_the_step(runs: Runs, runner: Runner) -> None:
    """The termination is over once the run goes on, so that a kill in the step leaves none."""
    cp = terminated(runs)
    stored = []
    cp.add_step(before="b", name="look")(lambda _state: stored.append(cp.handler.header("x")))
    runner(cp, run_id="x", checkpoint="look")
    assert [(one.status, one.terminated_by, one.termination) for one in stored] == [
        ("running", None, None)
    ]


def test_first_step_of_a_queued_run(durable_runs: Runs, runner: Runner) -> None:
    """A run that was terminated before its first step is refused, and begins with `checkpoint=`."""
    cp = durable_runs.flow()
    queue_run(cp, "x", {"n": 1})
    terminate_run(cp, "x")
    with pytest.raises(RunTerminatedError):
        runner(cp, run_id="x")
    assert runner(cp, run_id="x", checkpoint=0)["n"] == 1
    assert durable_runs.ran() == ["a", "b", "c"]


def test_patch(runs: Runs, runner: Runner) -> None:
    """A patch of values leaves it terminated. With a position it is stopped, and goes on."""
    cp = terminated(runs)
    header = runner.do(cp, "patch", {"n": 2}, run_id="x")
    assert (header.status, header.terminated_by) == ("terminated", "hand")
    assert header.termination == "no such customer"
    with pytest.raises(RunTerminatedError):
        runner(cp, run_id="x")
    header = runner.do(cp, "patch", {"n": 3}, 1, run_id="x")
    assert (header.status, header.stopped_by) == ("stopped", "patch")
    assert (header.terminated_by, header.termination) == (None, None)
    assert (runner(cp, run_id="x")["n"], runs.ran()) == (3, ["b", "c"])


def test_written_by_hand(durable_runs: Runs, runner: Runner) -> None:
    """A state that is written by hand has a position, and so ends the termination."""
    cp = terminated(durable_runs)
    cp.handler.write(cp.handler.read("x") | {"n": 4}, "x")
    assert runner(cp, run_id="x")["n"] == 4


def test_paused_run_is_no_longer_answered(durable_runs: Runs, runner: Runner) -> None:
    """A termination comes before the pause that the run waited in."""
    cp = durable_runs.flow("a")

    @cp.add_step()
    def ask(state: dict[str, Any]) -> None:
        if "n" not in state:
            raise Pause

    runner(cp, {}, run_id="x")
    terminate_run(cp, "x")
    with pytest.raises(RunTerminatedError):
        runner.do(cp, "resume", "x", {"n": 1}, answers=1)


def test_lists_and_counts(runs: Runs, runner: Runner) -> None:
    """It is listed and counted by its own status, at its step, and deleted by it."""
    cp = terminated(runs)
    queue_run(cp, "y", {})
    assert listed(runner, cp, "terminated") == ["x"]
    assert listed(runner, cp, "paused") == []
    assert listed(runner, cp, ["queued", "terminated"]) == ["x", "y"]
    counts = runner.do(cp, "count", "status")
    assert {status: count for status, count in counts.items() if count} == {
        "queued": 1,
        "terminated": 1,
    }
    assert runner.do(cp, "count", "step") == {"a": 1, "b": 1}
    assert runner.do(cp, "prune", older_than=0) == 0
    assert runner.do(cp, "prune", older_than=0, status="terminated") == 1
    assert listed(runner, cp) == ["y"]


def test_run_without_an_id(durable_runs: Runs, runner: Runner) -> None:
    """The only run of a flow is refused likewise, with the way on that it has."""
    cp = durable_runs.flow()
    cp.run({"n": 1}, until="a")
    terminate_run(cp, None)
    with pytest.raises(RunTerminatedError, match=r"reset\(\)") as caught:
        runner(cp, {"n": 1})
    assert caught.value.run_id is None
    runner.reset(cp)
    assert runner(cp, {"n": 5})["n"] == 5


def test_inspected_and_adopted(tmp_path: Path) -> None:
    """Whoever looks at the store from outside sees how the run ended, also after `adopt`."""
    cp = CheckpointFlow(tmp_path / "runs.pkl", fsync=False)
    cp.add_step(name="a")(lambda state: None)
    queue_run(cp, "x", {"n": 1}, due=5.0)
    queue_run(cp, "y", {"n": 1})
    terminate_run(cp, "y", "starts", "ten starts")
    adopt(cp.handler.locate("x"))
    adopt(cp.handler.locate("y"))
    queued, ended = (inspect(cp.handler.locate(one)) for one in "xy")
    assert (queued.status, queued.due) == ("queued", 5.0)
    assert (ended.status, ended.terminated_by) == ("terminated", "starts")
    assert ended.termination == "ten starts"
    assert [one.status for one in cp.runs()] == ["terminated", "queued"]
