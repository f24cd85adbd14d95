"""`resume` goes on with one stored run, and begins none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import (
    CheckpointFlow,
    FlowDefinitionError,
    InvalidTypeError,
    InvalidValueError,
    PauseConflictError,
    RunInProgressError,
    RunNotFoundError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from run_factories import Runs
    from support import Runner


def test_unfinished(durable_runs: Runs, runner: Runner) -> None:
    """A broken run goes on at its step, as the same run."""
    durable_runs.faults["step b"] = OSError("broken")
    cp = durable_runs.flow()
    with pytest.raises(OSError, match="broken"):
        runner(cp, {"n": 1}, run_id="x")
    durable_runs.faults.clear()
    durable_runs.log.clear()
    assert runner.do(cp, "resume", "x")["n"] == 1
    assert durable_runs.ran() == ["b", "c"]
    assert cp.handler.header("x").number == 1


def test_at_its_first_step(durable_runs: Runs, runner: Runner) -> None:
    """A run that stands at its first step goes on with its stored state."""
    durable_runs.faults["step a"] = OSError("broken")
    cp = durable_runs.flow()
    with pytest.raises(OSError, match="broken"):
        runner(cp, {"n": 1}, run_id="x")
    durable_runs.faults.clear()
    assert runner.do(cp, "resume", "x")["n"] == 1


def test_finished(durable_runs: Runs, runner: Runner) -> None:
    """A finished run gives its stored state, whatever became of the steps, and runs nothing."""
    cp = durable_runs.flow()
    final = runner(cp, {"n": 1}, run_id="x")
    durable_runs.log.clear()
    other = durable_runs.flow("a", "new")
    assert runner.do(other, "resume", "x") == final
    assert (durable_runs.log, cp.handler.header("x").number) == ([], 1)


@pytest.mark.parametrize("how", ["resume", "once"])
def test_edited_at_its_first_step(how: str, durable_runs: Runs, runner: Runner) -> None:
    """A run that broke in its first step, and was read, edited and written, is not finished."""
    durable_runs.faults["step a"] = OSError("broken")
    cp = durable_runs.flow()
    with pytest.raises(OSError, match="broken"):
        runner(cp, {"n": 1}, run_id="x")
    durable_runs.faults.clear()
    durable_runs.log.clear()
    cp.handler.write(cp.handler.read("x") | {"n": 2}, "x")
    assert [header.status for header in cp.runs()] == ["stopped"]
    final = runner.do(cp, "resume", "x") if how == "resume" else runner(cp, run_id="x", once=True)
    assert (final["n"], durable_runs.ran()) == (2, ["a", "b", "c"])
    assert cp.handler.header("x").number == 1


@pytest.mark.parametrize("update", [None, {"n": 1}], ids=repr)
def test_not_stored(update: dict[str, int] | None, durable_runs: Runs, runner: Runner) -> None:
    """An id that is not stored is an error, and nothing is stored for it."""
    cp = durable_runs.flow()
    runner(cp, {}, run_id="x")
    durable_runs.log.clear()
    with pytest.raises(RunNotFoundError, match=r"no run to resume") as info:
        runner.do(cp, "resume", "y", update)
    assert isinstance(info.value, LookupError)
    assert info.value.path == cp.handler.locate("y")
    assert (durable_runs.log, [one.run_id for one in cp.runs()]) == ([], ["x"])


def test_without_an_id(durable_runs: Runs, runner: Runner) -> None:
    """The run without an id is resumed as well."""
    cp = durable_runs.flow()
    with pytest.raises(RunNotFoundError):
        runner.do(cp, "resume", None)
    runner(cp, {"n": 1}, until="a")
    assert runner.do(cp, "resume", None)["n"] == 1


@pytest.mark.parametrize("until", [None, "a"], ids=["finished", "stopped"])
def test_update_of_a_run_that_waits_for_nothing(
    until: str | None, durable_runs: Runs, runner: Runner
) -> None:
    """An update for a run that is not paused is a conflict, and is not stored."""
    cp = durable_runs.flow()
    runner(cp, {"n": 1}, run_id="x", until=until)
    before = cp.read("x")
    durable_runs.log.clear()
    for call in (
        lambda: runner.do(cp, "resume", "x", {"n": 2}),
        lambda: runner(cp, run_id="x", update={"n": 2}),
    ):
        with pytest.raises(PauseConflictError, match="paused") as info:
            call()
        assert isinstance(info.value, InvalidValueError)
    assert (durable_runs.log, cp.read("x")) == ([], before)


def test_in_progress(durable_runs: Runs, runner: Runner) -> None:
    """A run that is under way is not taken over."""
    cp = durable_runs.empty_flow()
    errors: list[BaseException] = []

    @cp.add_step()
    def step(state: dict[str, int]) -> None:
        try:
            cp.resume("x")
        except RunInProgressError as error:
            errors.append(error)

    runner(cp, {}, run_id="x")
    assert len(errors) == 1


def test_bad_arguments(durable_runs: Runs, runner: Runner) -> None:
    """Bad ids and updates are refused as elsewhere, and so is a flow without steps."""
    cp = durable_runs.flow()
    with pytest.raises(InvalidTypeError, match="run_id"):
        runner.do(cp, "resume", 5)
    with pytest.raises(InvalidTypeError, match="update"):
        runner.do(cp, "resume", "x", [("n", 1)])
    with pytest.raises(InvalidValueError, match="wait"):
        runner.do(cp, "resume", "x", wait=-1)
    with pytest.raises(FlowDefinitionError, match="no steps"):
        runner.do(durable_runs.empty_flow(), "resume", "x")


def test_finished_run_of_a_flow_without_steps(runner: Runner, tmp_path: Path) -> None:
    """A finished run gives its state also where no step is registered, as in another program."""
    cp = CheckpointFlow(tmp_path / "runs.db", "sqlite")
    cp.add_step(name="a")(lambda state: state.update(a=1))
    runner(cp, {}, run_id="x")
    reader = CheckpointFlow(tmp_path / "runs.db", "sqlite")
    assert runner.do(reader, "resume", "x") == {"a": 1}
    cp.handler.close()
    reader.handler.close()
