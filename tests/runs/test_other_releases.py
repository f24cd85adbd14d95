"""Runs of newer versions, of other releases without versions, and of other flows are left alone."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from run_factories import resume_all
from support import NAMES
from versioned_flows import BrokenError, breaks, flow, header, recorded, stand

from aiocheckpoint import (
    CheckpointFlow,
    DrainingError,
    FlowChangedError,
    FlowVersionError,
    Pause,
    _logging,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from run_factories import Runs
    from support import Runner, State

    from aiocheckpoint import Header


@pytest.fixture(autouse=True)
def _nothing_logged_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_logging, "_logged_refusals", set())


def killed(runs: Runs, *names: str, at: str, **options: Any) -> Header:  # noqa: ANN401
    """Leave a run as it is when its process was killed in a step, and give its header."""
    cp = runs.empty_flow(**options)
    for name in names:
        cp.add_step(name=name)(breaks if name == at else recorded(runs, name))
    with pytest.raises(BrokenError):
        cp.run({}, run_id="x")
    running = replace(header(runs), status="running", failure=None)
    with cp.handler.locked("x") as lock, cp.handler.stored("x") as stored:
        assert stored is not None
        state = stored.state()
        state.pop("checkpoint_index")
        cp.handler.replace(
            "x", lambda target: cp.handler.codec.write(running, state, None, target), lock=lock
        )
    runs.log.clear()
    assert header(runs).status == "running"
    return header(runs)


def drained(runs: Runs, *names: str, at: str) -> None:
    """Leave a run that a drain stopped on entry to a step."""
    cp = runs.empty_flow()
    for name in names:
        step = recorded(runs, name)
        if names.index(name) + 1 == names.index(at):
            step = draining(cp, step)
        cp.add_step(name=name)(step)
    with pytest.raises(DrainingError):
        cp.run({}, run_id="x")
    runs.log.clear()
    assert header(runs).stopped_by == "drain"


def draining(cp: CheckpointFlow, step: Any) -> Any:  # noqa: ANN401
    """Make a step that asks for a drain, as the handler of a signal does."""

    def asks(state: State) -> None:
        step(state)
        assert len(cp.drain()) == 1

    return asks


def paused(runs: Runs, *names: str, at: str) -> None:
    """Leave a run that is paused in a step."""
    cp = runs.empty_flow()

    def pauses(state: State) -> None:
        raise Pause("ask")

    for name in names:
        cp.add_step(name=name)(pauses if name == at else recorded(runs, name))
    cp.run({}, run_id="x")
    runs.log.clear()


# --- a newer version


@pytest.mark.parametrize("version", [None, 0, 2])
def test_newer_version_is_refused(version: int | None, runner: Runner, runs: Runs) -> None:
    """A run that a newer version stored is neither run nor changed, wherever it stands."""
    stand(runs, *NAMES, at="b", version=3)
    before, cp = header(runs), flow(runs, *NAMES, version=version)
    for arguments in ({}, {"once": True}, {"until": "b"}):
        with pytest.raises(FlowVersionError) as info:
            runner(cp, run_id="x", **arguments)
    error = info.value
    assert (error.stored_version, error.version, error.run_id) == (3, version or 0, "x")
    assert error.path == cp.handler.locate("x")
    assert (header(runs), runs.log) == (before, [])
    plan = runner.plan(cp, run_id="x")
    assert isinstance(plan.refused, FlowVersionError)
    assert "refused with FlowVersionError" in str(plan)


def test_newer_version_in_its_first_step(runner: Runner, runs: Runs) -> None:
    """A run that has done no step yet is the newer version's as well, with an id and without."""
    for run_id in ("x", None):
        stand(runs, *NAMES, at="a", version=3, run_id=run_id)
        with pytest.raises(FlowVersionError):
            runner(flow(runs, *NAMES, version=2), {"name": "Bob"}, run_id=run_id)
        assert runs.empty_flow().read(run_id)["name"] == "Ann"


def test_newer_version_that_finished(runner: Runner, runs: Runs) -> None:
    """Its result is given. A new run with a given state may begin, and none with its state."""
    flow(runs, *NAMES, version=3).run({}, run_id="x")
    old = flow(runs, *NAMES, version=2)
    assert runner(old, run_id="x", once=True) == {"trail": [*NAMES]}
    assert runner.do(old, "resume", "x") == {"trail": [*NAMES]}
    with pytest.raises(FlowVersionError):
        runner(old, run_id="x")
    assert runner(old, {}, run_id="x") == {"trail": [*NAMES]}
    assert (header(runs).version, header(runs).number) == (2, 2)


def test_ways_on_after_a_withdrawn_release(runner: Runner, runs: Runs) -> None:
    """The remedies of the error work: `checkpoint=`, and a higher version with `migrate=`."""
    for run_id in ("x", "y"):
        stand(runs, *NAMES, at="b", version=3, run_id=run_id)
    assert runner(flow(runs, *NAMES, version=2), run_id="x", checkpoint="b")["trail"] == [*NAMES]
    assert header(runs).version == 2
    back = flow(runs, *NAMES, version=4, migrate=lambda state, version: state.update(of=version))
    assert runner(back, run_id="y") == {"name": "Ann", "trail": [*NAMES], "of": 3}


def test_older_version_without_migrate(runner: Runner, runs: Runs) -> None:
    """Its names are compared, as without versions, and the rest is of this version."""
    stand(runs, *NAMES, at="b", version=1)
    with pytest.raises(FlowChangedError):
        runner(flow(runs, "A", "b", "c", version=2), run_id="x")
    assert header(runs).version == 1
    assert runner(flow(runs, *NAMES, version=2), run_id="x")["trail"] == [*NAMES]
    assert header(runs).version == 2


def test_patch_of_a_newer_version(runner: Runner, runs: Runs) -> None:
    """A patch may set values. A position would be one of other steps, and is refused."""
    stand(runs, *NAMES, at="b", version=3)
    old = flow(runs, *NAMES, version=2)
    with pytest.raises(FlowVersionError):
        runner.do(old, "patch", {}, "c", run_id="x")
    assert runner.do(old, "patch", {"n": 1}, run_id="x").version == 3
    assert header(runs).position == 1


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Give the logged errors, and forget them."""
    found = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    caplog.clear()
    return found


def test_recovery_leaves_newer_versions_alone(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    """They have no result, an error is logged once, and the others are resumed."""
    for run_id, version in (("x", 3), ("y", 2), ("z", None)):
        stand(runs, *NAMES, at="b", version=version, run_id=run_id)
    before = header(runs)
    old = flow(runs, *NAMES, version=2)
    assert resume_all(old).keys() == {"y", "z"}
    (line,) = errors_in(caplog)
    assert "'x'" in line
    assert "stored by version 3" in line
    assert resume_all(old) == {}
    assert (errors_in(caplog), header(runs)) == ([], before)
    assert resume_all(flow(runs, *NAMES, version=3)).keys() == {"x"}


def test_newer_version_that_comes_behind_the_list(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that a newer process took on since the list is left alone all the same."""
    stand(runs, *NAMES, at="b", version=3)
    monkeypatch.setattr("aiocheckpoint._runs.resuming.refusal_in_recovery", lambda *arguments: None)
    assert resume_all(flow(runs, *NAMES, version=2)) == {}
    assert len(errors_in(caplog)) == 1


# --- releases without versions


@pytest.mark.parametrize("leave", [killed, drained, paused])
@pytest.mark.parametrize("names", [("a", "B", "c"), ("a", "c"), ("a",)])
def test_run_that_did_not_break_keeps_its_step(
    leave: Callable[..., object],
    names: tuple[str, ...],
    runner: Runner,
    runs: Runs,
) -> None:
    """A release without the step at which the run stands refuses it, and changes nothing."""
    leave(runs, *NAMES, at="b")
    before, cp = header(runs), flow(runs, *names)
    with pytest.raises(FlowChangedError, match="checkpoint=") as info:
        runner(cp, run_id="x")
    assert (info.value.step, info.value.difference, info.value.position) == ("b", 1, 1)
    assert (info.value.stored_steps, info.value.current_steps) == (NAMES, names)
    assert "reset" not in str(info.value)
    assert isinstance(runner.plan(cp, run_id="x").refused, FlowChangedError)
    assert (header(runs), runs.log) == (before, [])
    runner(flow(runs, *names), run_id="x", checkpoint=names[-1])
    assert runs.ran() == [names[-1]]


def test_killed_in_the_first_step(runner: Runner, runs: Runs) -> None:
    """The first step counts as well."""
    killed(runs, *NAMES, at="a")
    with pytest.raises(FlowChangedError):
        runner(flow(runs, "b", "c"), {}, run_id="x")
    assert runner(flow(runs, "new", *NAMES), {}, run_id="x")["trail"] == ["new", *NAMES]


@pytest.mark.parametrize("leave", [killed, drained])
def test_steps_may_come_before_and_behind(leave: Callable[..., object], runs: Runs) -> None:
    """A run that did not break goes on where the step that it stands at is still there."""
    leave(runs, *NAMES, at="b")
    assert flow(runs, "a", "new", "b", "z").run(run_id="x")["trail"] == ["a", "new", "b", "z"]


def test_step_that_broke_may_be_renamed(runner: Runner, runs: Runs) -> None:
    """As before: where a step broke, or a person stopped the run, it may be renamed or removed."""
    stand(runs, *NAMES, at="b", version=None)
    assert runner(flow(runs, "a", "B", "c"), run_id="x")["trail"] == ["a", "B", "c"]
    flow(runs, *NAMES).run({}, run_id="y", until="a")
    assert runner(flow(runs, "a", "B", "c"), run_id="y")["trail"] == ["a", "B", "c"]
    flow(runs, *NAMES).run({}, run_id="z", until="a")
    flow(runs, *NAMES).patch({}, "b", run_id="z")
    assert runner(flow(runs, "a", "B", "c"), run_id="z")["trail"] == ["a", "B", "c"]


def test_run_without_an_id(runner: Runner, runs: Runs) -> None:
    """In a script without run ids the rest may change, however the last run ended."""
    cp = runs.empty_flow()
    cp.add_step(name="a")(draining(cp, recorded(runs, "a")))
    cp.add_step(name="b")(breaks)
    with pytest.raises(DrainingError):
        cp.run({})
    assert runner(flow(runs, "a", "B"))["trail"] == ["a", "B"]


def test_recovery_gives_changed_steps_as_results(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    """A release that lacks the step has the refusal as a result, and an error in the log, once."""
    drained(runs, *NAMES, at="b")
    for lines in (1, 0):
        error = resume_all(flow(runs, "a", "c"))["x"].error
        assert isinstance(error, FlowChangedError)
        assert len(errors_in(caplog)) == lines
    assert header(runs).stopped_by == "drain"


# --- another flow of the same name

OTHER = ("p", "q")


@pytest.mark.parametrize("at", ["a", "b"])
def test_run_of_another_flow(at: str, runner: Runner, runs: Runs) -> None:
    """A run of another service is refused, in its first step too, and stays as it is."""
    stand(runs, *NAMES, at=at, version=None)
    before, cp = header(runs), flow(runs, *OTHER)
    for state in (None, {"name": "Bob"}):
        with pytest.raises(FlowChangedError, match=r"another flow.*name=.*checkpoint=") as info:
            runner(cp, state, run_id="x")
        assert info.value.of_other_flow
    assert "reset" not in str(info.value)
    assert (header(runs), runs.log) == (before, [])
    assert runner(flow(runs, *NAMES), run_id="x")["trail"] == [*NAMES]


def test_finished_run_of_another_flow(runner: Runner, runs: Runs) -> None:
    """No new run takes its place."""
    flow(runs, *NAMES).run({}, run_id="x")
    with pytest.raises(FlowChangedError, match="another flow"):
        runner(flow(runs, *OTHER), {}, run_id="x")
    assert header(runs).steps == NAMES


def test_single_step_that_broke_is_renamed(runner: Runner, runs: Runs) -> None:
    """A flow of one step that broke in it may rename it: it has done nothing yet."""
    stand(runs, "a", at="a", version=None)
    assert runner(flow(runs, "b"), run_id="x")["trail"] == ["b"]


def test_one_shared_name_is_enough(runner: Runner, runs: Runs) -> None:
    """A flow with one name in common compares the steps before the position."""
    stand(runs, *NAMES, at="c", version=None)
    with pytest.raises(FlowChangedError) as info:
        runner(flow(runs, "p", "c"), run_id="x")
    assert not info.value.of_other_flow


def test_two_services_recover_their_own(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    """Two services that share a place by mistake do not resume each other's runs."""
    stand(runs, *NAMES, at="b", version=None, run_id="x")
    stand(runs, *OTHER, at="q", version=None, run_id="y")
    assert resume_all(flow(runs, *NAMES)).keys() == {"x"}
    assert len(errors_in(caplog)) == 1
    assert header(runs, "y").status == "failed"
    assert resume_all(flow(runs, *OTHER)).keys() == {"y"}
    assert errors_in(caplog) == []
    assert [header(runs, run_id).steps for run_id in "xy"] == [NAMES, OTHER]
