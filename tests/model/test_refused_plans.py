"""`plan()` describes the refusal of a run, and raises for bad arguments alone."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
from support import FlowFactory, Runner, State, make_stored

from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    CorruptSnapshotError,
    FlowChangedError,
    FlowDefinitionError,
    InvalidTypeError,
    InvalidValueError,
    StorageError,
    UntrustedSnapshotError,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def changed(flows: FlowFactory) -> CheckpointFlow:
    """Rename a step that is done."""
    make_stored(flows, "failed at 2")
    return flows.flow("a", "x", "c")


def damaged(flows: FlowFactory) -> CheckpointFlow:
    """Cut the file."""
    make_stored(flows, "failed at 2")
    flows.path.write_bytes(flows.path.read_bytes()[:-3])
    return flows.flow()


def unsigned(flows: FlowFactory) -> CheckpointFlow:
    """Ask for a signature that is not there."""
    make_stored(flows, "failed at 2")
    return flows.flow(secret="s" * 32)


def unreadable(flows: FlowFactory) -> CheckpointFlow:
    """Put a directory in the place of the file."""
    cp = flows.flow()
    flows.path.mkdir()
    return cp


def empty(flows: FlowFactory) -> CheckpointFlow:
    """Register no step."""
    return CheckpointFlow(flows.path)


REFUSALS: dict[Callable[[FlowFactory], CheckpointFlow], type[CheckpointError]] = {
    changed: FlowChangedError,
    damaged: CorruptSnapshotError,
    unsigned: UntrustedSnapshotError,
    unreadable: StorageError,
    empty: FlowDefinitionError,
}


@pytest.mark.parametrize(("make", "kind"), REFUSALS.items(), ids=lambda value: value.__name__)
def test_refusal(
    make: Callable[[FlowFactory], CheckpointFlow],
    kind: type[CheckpointError],
    runner: Runner,
    flows: FlowFactory,
) -> None:
    """The plan holds the very error that the run would raise, and says so in words."""
    cp = make(flows)
    flows.log.clear()
    plan = runner.plan(cp, {"n": 1})
    assert plan.refused is not None
    assert type(plan.refused) is kind
    assert str(plan) == f"Runs nothing, and is refused with {kind.__name__}: {plan.refused}"
    assert (plan.first, any(plan.loads), plan.reason) == (None, False, str(plan.refused))
    assert plan.refused.__traceback__ is None
    assert str(pickle.loads(pickle.dumps(plan))) == str(plan)
    with pytest.raises(kind) as info:
        runner(cp, {"n": 1})
    assert str(info.value) == str(plan.refused)
    assert flows.log == []


def test_allowed(runner: Runner, flows: FlowFactory) -> None:
    """A run that would not be refused has no error in its plan."""
    assert runner.plan(flows.flow()).refused is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"state": 5},
        {"load_policy": "sometimes"},
        {"load_policy": [True]},
        {"checkpoint": "nope"},
        {"checkpoint": 1.5},
        {"until": 99},
        {"checkpoint": 2, "until": 0},
        {"run_id": 5},
    ],
    ids=str,
)
def test_bad_arguments_raise(arguments: State, runner: Runner, flows: FlowFactory) -> None:
    """A bad argument is no refusal of a run."""
    with pytest.raises((InvalidTypeError, InvalidValueError)):
        runner.plan(flows.flow(), **arguments)
