"""A step that raises `Terminate` ends its run for good."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import (
    CheckpointFlow,
    FlowDefinitionError,
    InvalidTypeError,
    Retry,
    RunTerminatedError,
    Terminate,
    events,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from run_factories import Runs
    from support import Runner, State

    from aiocheckpoint import Header


def declining(runs: Runs, hooks: Sequence[events.Hook] = ()) -> tuple[CheckpointFlow, list[str]]:
    """Make a flow whose second step terminates the run, and the list of its calls."""
    cp, calls = runs.empty_flow(hooks=hooks), list[str]()
    cp.add_step(name="first")(lambda state: state.update(first=True))

    @cp.add_step(retry=Retry(on=Exception, attempts=3, wait_initial=0.0))
    def charge(state: State) -> None:
        calls.append("charge")
        state["half"] = "changed"
        if state.get("declined"):
            raise Terminate("the card was declined")

    return cp, calls


def header(cp: CheckpointFlow, run_id: str) -> Header:
    """The header of a stored run."""
    found = cp.header(run_id)
    assert found is not None
    return found


def test_a_step_ends_its_run_for_good(runs: Runs, runner: Runner) -> None:
    """It raises our error then and later, runs the step once, and keeps the state of its entry."""
    cp, calls = declining(runs)
    for _ in range(2):
        with pytest.raises(RunTerminatedError, match="the card was declined") as info:
            runner(cp, {"declined": True}, run_id="x")
        assert (info.value.by, info.value.reason) == ("step", "the card was declined")
        assert info.value.run_id == "x"
    assert calls == ["charge"]
    found = header(cp, "x")
    assert (found.status, found.terminated_by) == ("terminated", "step")
    assert (found.termination, found.next_step) == ("the card was declined", "charge")
    assert (found.failure, found.due) == (None, None)
    assert cp.read("x") == {"declined": True, "first": True, "checkpoint_index": 1}


def test_the_line_that_raised_it_is_the_cause(runs: Runs, runner: Runner) -> None:
    """The error of the caller names the step's own line as its cause."""
    cp, _ = declining(runs)
    with pytest.raises(RunTerminatedError) as info:
        runner(cp, {"declined": True}, run_id="x")
    cause = info.value.__cause__
    assert isinstance(cause, Terminate)
    traceback = cause.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    assert traceback is not None
    assert traceback.tb_frame.f_code.co_name == "charge"


def test_it_goes_on_with_a_checkpoint(runs: Runs, runner: Runner) -> None:
    """`checkpoint=` and a patch with a position go on with a terminated run, as with any other."""
    cp, calls = declining(runs)
    with pytest.raises(RunTerminatedError):
        runner(cp, {"declined": True}, run_id="x")
    with pytest.raises(RunTerminatedError):
        runner(cp, checkpoint="charge", run_id="x")
    cp.patch({"declined": False}, "charge", run_id="x")
    assert runner(cp, run_id="x")["half"] == "changed"
    assert (calls, header(cp, "x").status) == (["charge"] * 3, "finished")
    assert (header(cp, "x").terminated_by, header(cp, "x").termination) == (None, None)


async def test_many_runs_have_it_as_a_result(runs: Runs) -> None:
    """`amap` gives the error beside the others, with the status, and recovery leaves it alone."""
    cp, calls = declining(runs)
    results = {one.run_id: one for one in await cp.amap({"x": {"declined": True}, "y": {}})}
    assert isinstance(results["x"].error, RunTerminatedError)
    assert (results["x"].status, results["y"].status) == ("terminated", "finished")
    assert [one async for one in cp.aresume_all()] == []
    assert [one async for one in cp.awork(until_empty=True)] == []
    assert calls == ["charge"] * 2


def test_it_is_an_event_and_a_warning(
    runs: Runs, runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """Hooks get one event of it, the log one record, and no failure is said."""
    caplog.set_level(logging.WARNING, "aiocheckpoint")
    seen = list[events.Event]()
    cp, _ = declining(runs, hooks=[seen.append])
    with pytest.raises(RunTerminatedError):
        runner(cp, {"declined": True}, run_id="x")
    (event,) = (one for one in seen if isinstance(one, events.RunTerminated))
    assert (event.step, event.reason, event.by) == ("charge", "the card was declined", "step")
    assert (event.run_id, event.number) == ("x", 1)
    assert seen[-1] is event
    assert not any(isinstance(one, events.StepFailed) for one in seen)
    (record,) = caplog.records
    assert "was terminated at step 'charge', by 'step': the card was declined" in record.message


@pytest.mark.parametrize("part", ["load", "save"])
def test_only_a_step_may(part: str, runs: Runs, runner: Runner) -> None:
    """In a loader or saver it is a mistake in the flow, and the run has failed."""

    def raises(state: State) -> State:
        raise Terminate("mistaken")

    cp = runs.empty_flow()
    if part == "load":
        cp.add_step(name="step", load=raises)(lambda state: None)
    else:
        cp.add_step(name="step", save=raises)(lambda state: None)
    with pytest.raises(FlowDefinitionError, match="only a step may terminate a run"):
        runner(cp, {}, run_id="x")
    assert header(cp, "x").status == "failed"


@pytest.mark.parametrize("reason", [None, 5, b"x"], ids=repr)
def test_its_reason_is_a_text(reason: Any) -> None:  # noqa: ANN401
    """Another reason is refused where it is raised."""
    with pytest.raises(InvalidTypeError, match="reason as a string"):
        Terminate(reason)


def test_in_a_hook_it_ends_nothing(runs: Runs, runner: Runner) -> None:
    """A hook that raises it is logged, and its run goes on."""

    def hook(event: events.Event) -> None:
        if isinstance(event, events.StepStarted):
            raise Terminate("not here")

    cp, _ = declining(runs, hooks=[hook])
    assert runner(cp, {}, run_id="x")["half"] == "changed"
