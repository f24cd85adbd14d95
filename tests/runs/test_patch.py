"""Stored runs are patched by hand: their states and their positions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from run_factories import Runs, active_run, listed
from support import NAMES, Runner, dump_bare

from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    InvalidTypeError,
    InvalidValueError,
    RunInProgressError,
    UnserializableStateError,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def break_at_b(flows: Runs) -> CheckpointFlow:
    """Leave a run "x" that failed in b."""
    cp = flows.flow()
    flows.faults["step b"] = ValueError("it is broken")
    with pytest.raises(ValueError, match="broken"):
        cp.run({"n": 1}, run_id="x")
    flows.faults.clear()
    flows.log.clear()
    return cp


def test_values_are_put_into_the_state(runs: Runs, runner: Runner) -> None:
    """A patch changes the values that it names and deletes the failure. The run then resumes."""
    cp = break_at_b(runs)
    header = runner.do(cp, "patch", {"n": 2, "new": [1]}, run_id="x")
    assert (header.status, header.position, header.failure) == ("stopped", 1, None)
    assert header == cp.handler.header("x")
    stored = {"n": 2, "new": [1], "loads": ["a"], "trail": ["a"], "checkpoint_index": 1}
    assert runner.do(cp, "read", "x") == stored
    assert runner(cp, {"n": 3}, run_id="x")["n"] == 2
    assert runs.ran() == ["b", "c"]
    assert cp.handler.header("x").number == 1


def test_nothing_need_be_changed(runs: Runs, runner: Runner) -> None:
    """An empty patch deletes the failure and moves nothing."""
    cp = break_at_b(runs)
    before = cp.read("x")
    runner.do(cp, "patch", {}, run_id="x")
    assert (cp.read("x"), cp.handler.header("x").failure) == (before, None)


@pytest.mark.parametrize("checkpoint", [2, "c"], ids=repr)
def test_step_done_by_hand_is_passed_over(
    checkpoint: int | str, runs: Runs, runner: Runner
) -> None:
    """With a checkpoint after it, a failed step counts as done."""
    cp = break_at_b(runs)
    header = runner.do(cp, "patch", {"b": "by hand"}, checkpoint, run_id="x")
    assert (header.position, header.steps, header.status) == (2, NAMES, "stopped")
    assert runner(cp, run_id="x")["b"] == "by hand"
    assert runs.ran() == ["c"]


@pytest.mark.parametrize("checkpoint", [0, "a"], ids=repr)
def test_run_is_sent_back(checkpoint: int | str, runs: Runs, runner: Runner) -> None:
    """A run moved back to its first step is the same run, with its stored state."""
    cp = break_at_b(runs)
    runner.do(cp, "patch", {"n": 5}, checkpoint=checkpoint, run_id="x")
    assert runner(cp, run_id="x")["n"] == 5
    assert runs.ran() == ["a", "b", "c"]
    assert cp.handler.header("x").number == 1


def test_all_steps_done_by_hand(runs: Runs, runner: Runner) -> None:
    """The number of steps as `checkpoint` finishes the run."""
    cp = break_at_b(runs)
    header = runner.do(cp, "patch", {"n": 7}, len(NAMES), run_id="x")
    assert (header.status, header.position) == ("finished", 0)
    assert runner(cp, run_id="x", once=True)["n"] == 7
    assert (runs.log, listed(runner, cp, "finished")) == ([], ["x"])


def test_finished_run(runs: Runs, runner: Runner) -> None:
    """A finished run stays finished when values are patched, and resumes from a `checkpoint`."""
    cp = runs.flow()
    runner(cp, {"n": 1}, run_id="x")
    runs.log.clear()
    assert runner.do(cp, "patch", {"n": 2}, run_id="x").status == "finished"
    assert runner(cp, run_id="x", once=True)["n"] == 2
    assert runner.do(cp, "patch", {}, "c", run_id="x").status == "stopped"
    assert runner(cp, run_id="x", once=True)["n"] == 2
    assert (runs.ran(), cp.handler.header("x").number) == (["c"], 1)


def test_position_is_no_value(runs: Runs, runner: Runner) -> None:
    """A `checkpoint_index` among the values, as in `read`, moves nothing and is not stored."""
    cp = break_at_b(runs)
    runner.do(cp, "patch", {**cp.read("x"), "checkpoint_index": 2, "n": 4}, run_id="x")
    assert (cp.read("x")["checkpoint_index"], cp.read("x")["n"]) == (1, 4)
    runner(cp, run_id="x")
    assert runs.ran() == ["b", "c"]


def refused(
    flows: Runs,
    runner: Runner,
    kind: type[CheckpointError],
    match: str,
    run_id: object,
    *args: object,
) -> None:
    """Check that a patch is refused and that every stored run is unchanged."""
    cp = break_at_b(flows)
    before = (cp.read("x"), cp.handler.header("x"))
    with pytest.raises(kind, match=match):
        runner.do(cp, "patch", *args, run_id=run_id)
    assert (cp.read("x"), cp.handler.header("x")) == before
    assert listed(runner, cp) == ["x"]


@pytest.mark.parametrize(
    ("kind", "match", "args"),
    [
        (InvalidValueError, "nothing to patch", ("other", {"n": 1})),
        (InvalidValueError, "nothing to patch", (None, {"n": 1})),
        (InvalidTypeError, "list", ("x", ["n"])),
        (InvalidTypeError, "NoneType", ("x", None)),
        (InvalidValueError, "checkpoint=4", ("x", {}, 4)),
        (InvalidValueError, "checkpoint=-1", ("x", {}, -1)),
        (InvalidValueError, "checkpoint='d'", ("x", {}, "d")),
        (InvalidTypeError, "checkpoint", ("x", {}, 1.5)),
        (InvalidTypeError, "checkpoint", ("x", {}, True)),
        (InvalidTypeError, "run_id", (3, {})),
        (InvalidValueError, "run_id", ("", {})),
        (UnserializableStateError, r'state\["bad"\]\[0\]', ("x", {"bad": [sys.__stdout__]})),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_meant(
    kind: type[CheckpointError], match: str, args: tuple[Any, ...], database: Runs, runner: Runner
) -> None:
    """An invalid patch is refused by name, and changes nothing."""
    refused(database, runner, kind, match, *args)


def test_running_run_is_not_patched(runs: Runs, runner: Runner) -> None:
    """A patch of a running run is refused and has no effect on it."""
    with active_run(runs.empty_flow(), "x", {"n": 1}):
        with pytest.raises(RunInProgressError):
            runner.do(runs.flow(), "patch", {"n": 2}, run_id="x")
        assert runner.do(runs.flow(), "read", "x")["n"] == 1
    assert runs.flow().read("x")["n"] == 1


def test_file_of_gumly_is_patched(runner: Runner, tmp_path: Path) -> None:
    """A gumly file is patched like any snapshot."""
    path = tmp_path / "old.pkl"
    dump_bare(path, {"n": 1, "checkpoint_index": 1})
    cp = CheckpointFlow(path)
    runner.do(cp, "patch", {"m": 2})
    assert runner.do(cp, "read") == {"n": 1, "m": 2, "checkpoint_index": 1}


def test_what_was_read_can_be_changed(runs: Runs, runner: Runner) -> None:
    """`read` returns a copy: changing it does not change the stored state."""
    cp = break_at_b(runs)
    runner.do(cp, "read", "x")["trail"].append("mine")
    assert runner.do(cp, "read", "x")["trail"] == ["a"]


def test_keys_are_taken_out(runs: Runs, runner: Runner) -> None:
    """Keys that `unset=` names are gone from the state, and the others stay."""
    cp = break_at_b(runs)
    runner.do(cp, "patch", {"new": 1}, run_id="x", unset=["n", "trail"])
    assert runner.do(cp, "read", "x") == {"loads": ["a"], "new": 1, "checkpoint_index": 1}


@pytest.mark.parametrize(
    ("values", "unset", "kind", "words"),
    [
        ({}, ["m"], InvalidValueError, "names the key 'm', and the stored state has none"),
        ({"n": 2}, {"n"}, InvalidValueError, "values= and unset= of patch.. both name the key 'n'"),
        ({}, ["checkpoint_index"], InvalidValueError, "'checkpoint_index', which is reserved"),
        ({}, "n", InvalidTypeError, "is a list or set of keys, not a str"),
    ],
    ids=["missing", "both", "reserved", "text"],
)
def test_keys_that_cannot_be_taken_out(
    values: dict[str, Any],
    unset: Collection[str],
    kind: type[CheckpointError],
    words: str,
    runs: Runs,
) -> None:
    """A key that is missing, set as well, or reserved is refused, and the run stays as it was."""
    cp = break_at_b(runs)
    before = cp.read("x"), cp.header("x")
    with pytest.raises(kind, match=words):
        cp.patch(values, run_id="x", unset=unset)
    assert (cp.read("x"), cp.header("x")) == before
