"""What the errors of queued, terminated and unknown runs say."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from run_factories import active_run

from aiocheckpoint import (
    CheckpointFlow,
    InvalidTypeError,
    RunInProgressError,
    RunNotFoundError,
    RunTerminatedError,
    UnserializableStateError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from run_factories import Runs
    from support import Runner, State


@pytest.mark.parametrize("call", ["requeue", "delete", "patch"])
def test_a_call_that_does_not_wait(call: str, runs: Runs, runner: Runner) -> None:
    """Of a run in progress it offers no wait that it has not, and names the way to end the run."""
    cp, asking = runs.empty_flow(), runs.flow("hold")
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {"patch": (({},), {"run_id": "x"})}
    args, kwargs = calls.get(call, (("x",), {}))
    with active_run(cp, "x", {"n": 1}):
        with pytest.raises(RunInProgressError, match="this very process") as info:
            runner.do(asking, call, *args, **kwargs)
        assert "wait=" not in str(info.value)
        assert "aterminate(run_id)" in str(info.value)
        with pytest.raises(RunInProgressError, match="wait=<seconds>"):
            runner(asking, {"n": 1}, run_id="x")


@pytest.mark.parametrize(
    ("call", "words"), [("requeue", "queue again"), ("terminate", "terminate")]
)
def test_unknown_run(call: str, words: str, runs: Runs, runner: Runner) -> None:
    """It says what there is no run for."""
    with pytest.raises(RunNotFoundError, match=f"there is no run to {words}") as info:
        runner.do(runs.flow(), call, "x")
    assert "resume" not in str(info.value)


def test_a_state_without_its_id(runs: Runs, runner: Runner) -> None:
    """The state of one run takes `run_id=`, and of `map` there is no such argument."""
    with pytest.raises(InvalidTypeError, match=r"submit\(state, run_id=...\)"):
        runner.do(runs.flow(), "submit", {"total": 3})
    wrong: Any = {"total": 3}
    with pytest.raises(InvalidTypeError) as info:
        runs.flow().map(wrong)
    assert "run_id=" not in str(info.value)


def test_by_hand(runs: Runs, runner: Runner) -> None:
    """It is said once."""
    cp = runs.flow()
    runner.do(cp, "submit", {}, run_id="x")
    runner.do(cp, "terminate", "x", "the customer has cancelled")
    with pytest.raises(RunTerminatedError) as info:
        runner(cp, None, run_id="x")
    assert "was terminated by hand: the customer has cancelled." in str(info.value)
    assert str(info.value).count("terminated") == 1


@pytest.mark.parametrize("many", [False, True])
def test_a_state_that_cannot_be_stored(many: bool, runs: Runs, runner: Runner) -> None:  # noqa: FBT001
    """The error names the run, and speaks of no checkpoint that there is not."""
    cp, state = runs.flow(), {"conn": (one for one in "x")}
    error: BaseException | None
    if many:
        (result,) = runner.do(cp, "submit", {"x": state})
        error = result.error
    else:
        with pytest.raises(UnserializableStateError) as info:
            runner.do(cp, "submit", state, run_id="x")
        error = info.value
    assert isinstance(error, UnserializableStateError)
    assert error.run_id == "x"
    for text in (str(error), str(error.__reduce__()[1][1])):
        assert text.startswith("the state of the run 'x' cannot be stored.")
        assert "checkpoint" not in text


@pytest.mark.parametrize("kind", ["sqlite", "directory"])
def test_an_unreadable_run_is_warned_of_once(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it is listed, and again where something else is stored of it."""
    path = "sqlite:///runs.db" if kind == "sqlite" else "runs/"
    path = path.replace("runs", f"{tmp_path}/runs")

    def flow(**options: Any) -> CheckpointFlow:  # noqa: ANN401 (passed on as is)
        cp = CheckpointFlow(path, name="jobs", fsync=False, **options)

        @cp.add_step()
        def step(state: State) -> None:
            pass

        return cp

    unsigned, signed = flow(), flow(secret="x" * 40)
    for count, run_id in enumerate(("x", "y"), 1):
        unsigned.submit({"n": 1}, run_id=run_id)
        for _ in range(3):
            assert signed.runs() == []
        warnings = [one for one in caplog.records if one.levelno == logging.WARNING]
        assert len(warnings) == count
