"""Why a run is refused, in one line, and the exit codes of one run and of many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from shop import make_shop

from aiocheckpoint import (
    CheckpointFlow,
    FlowVersionError,
    Pause,
    RunInProgressError,
    RunNotFoundError,
    RunTerminatedError,
)
from aiocheckpoint._cli.exit_codes import ExitCode
from aiocheckpoint._cli.outcomes import Outcome
from aiocheckpoint._cli.refusals import code_of_many, code_of_run, refusal_words

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

    from aiocheckpoint import CheckpointError

OF_CHANGES = {
    "step 2 was 'b' when it was stored, and is 'x'": ["a", "x", "c", "d"],
    "step 2 was 'b' when it was stored, and is missing": ["a"],
    "it stands at step 3, 'c', which the flow lacks": ["a", "b", "x"],
    "it is a run of another flow, with none of the steps of this one": ["x", "y"],
}


def flow_of(place: Path, names: list[str]) -> CheckpointFlow:
    """A flow of steps that do nothing."""
    cp = CheckpointFlow(f"{place}/runs/", name="runs", fsync=False)
    for name in names:
        cp.add_step(name=name)(lambda state: None)
    return cp


def wait(state: State) -> None:
    """Wait for an answer."""
    raise Pause


@pytest.mark.parametrize("words", OF_CHANGES)
def test_changed_steps(words: str, tmp_path: Path) -> None:
    """The first step that is another one is named with both names."""
    cp = flow_of(tmp_path, ["a", "b"])
    cp.add_step(name="c")(wait)
    cp.run({}, run_id="r")
    refused = flow_of(tmp_path, OF_CHANGES[words]).plan(run_id="r").refused
    assert refused is not None
    assert (refusal_words(refused), code_of_run(refused)) == (words, ExitCode.REFUSED)


@pytest.mark.parametrize(
    ("error", "words", "code"),
    [
        (
            FlowVersionError("p", "r", 3, 2),
            "version 3 of the flow stored it, and this is version 2",
            6,
        ),
        (RunNotFoundError("p"), "no such run is stored", 3),
        (RunTerminatedError("p", reason="fraud", by="hand"), "it is terminated: fraud", 12),
        (RunTerminatedError("p", reason=None, by="hand"), "it is terminated", 12),
        (RunInProgressError("p.q. r", pid=None), "p.q", 4),
    ],
    ids=["version", "not found", "reason", "terminated", "in progress"],
)
def test_words_and_codes(error: CheckpointError, words: str, code: int) -> None:
    """Each refusal has its words and its exit code."""
    assert refusal_words(error).startswith(words)
    assert code_of_run(error) == code


def test_error_of_another_run_is_a_failure(tmp_path: Path) -> None:
    """A step that lets out the refusal of another run has failed."""
    inner, outer = flow_of(tmp_path / "in", ["a"]), flow_of(tmp_path / "out", [])
    outer.add_step(name="ask")(lambda state: inner.resume("missing") and None)
    with pytest.raises(RunNotFoundError) as caught:
        outer.run({}, run_id="r")
    outcome = Outcome.of_error("r", caught.value)
    assert (outcome.status, outcome.code) == ("failed", ExitCode.FAILED)
    assert outcome.words.startswith("failed: aiocheckpoint.RunNotFoundError: nothing is")


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([], 0),
        ([0, 10, 11, 13], 0),
        ([3, 1, 6], 1),
        ([3, 6, 12], 6),
        ([5, 6], 5),
        ([3, 4], 4),
        ([0, 12], 12),
    ],
    ids=repr,
)
def test_code_of_many(codes: list[int], code: int) -> None:
    """The worst of many runs makes the exit code, and a pause is no fault."""
    assert code_of_many(map(ExitCode, codes)) == code


def test_texts_that_cannot_be_made() -> None:
    """An exception without a text has its type."""

    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert "no text: RuntimeError" in Outcome.of_error("r", MuteError()).line
    assert Outcome.of_error("r", ValueError()).line == "r  failed: ValueError"
    assert Outcome.of_error(None, ValueError("a\nb")).words == "failed: ValueError: a"


def test_plan_of_an_older_version(tmp_path: Path) -> None:
    """The dry run of a run that `migrate=` takes on says so."""
    options = ", version=2, migrate=lambda state, version: None"
    with make_shop(tmp_path) as old, make_shop(tmp_path, options=options) as new:
        old.run("x", 1, declined=True)
        done = new.does("resume", "x", "--dry-run")
        assert done.out == "x  starts with migrate=: version 0 of the flow stored it\n"
