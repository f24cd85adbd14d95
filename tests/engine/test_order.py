"""The order of a run: one write a step, durable before the next step begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import NAMES, FlowFactory, Runner, State, make_stored

from aiocheckpoint import CheckpointFlow, LocalStateHandler
from aiocheckpoint.events import RunFinished, SnapshotWritten, StepFailed, StepFinished

if TYPE_CHECKING:
    from pathlib import Path


def positions(flows: FlowFactory) -> list[int]:
    """Give the positions of all written snapshots, in order."""
    return [event.position for event in flows.events if isinstance(event, SnapshotWritten)]


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        ("nothing", [0, 1, 2, 0]),
        ("finished", [0, 1, 2, 0]),
        ("stopped at 1", [2, 0]),
        ("failed at 1", [2, 0]),
        ("failed at 2", [0]),
    ],
)
def test_one_write_a_step_and_one_at_the_start(
    stored: str, written: list[int], runner: Runner, flows: FlowFactory
) -> None:
    """A fresh run writes its start, then the end of each step, and no more."""
    make_stored(flows, stored)
    runner(flows.flow())
    assert positions(flows) == written


def test_each_step_begins_with_the_one_before_stored(runner: Runner, flows: FlowFactory) -> None:
    """A step begins after its entry state is stored. After its saver its end is not stored yet."""
    seen: list[tuple[str, int, State]] = []
    cp = CheckpointFlow(flows.path)

    def look(when: str) -> None:
        stored = LocalStateHandler(flows.path).read()
        seen.append((when, stored.pop("checkpoint_index"), stored))

    def step(state: State) -> None:
        look("step")
        state["n"] += 1

    def load(state: State) -> State:
        look("load")
        return {}

    for name in "ab":
        cp.add_step(load=load, save=lambda state: look("save"), name=name)(step)
    runner(cp, {"n": 0}, "always")
    before, after = {"n": 0}, {"n": 1}
    first = [("load", 0, before), ("step", 0, before), ("save", 0, before)]
    assert seen == [*first, ("load", 1, after), ("step", 1, after), ("save", 1, after)]


def test_events_of_a_run(runner: Runner, flows: FlowFactory) -> None:
    """Hooks get one event for the start, each part and the end, in order."""
    runner(flows.flow("a", "b"))
    assert [type(event).__name__ for event in flows.events] == [
        *("RunStarted", "SnapshotWritten"),
        *("StepStarted", "StepLoaded", "StepFinished", "SnapshotWritten"),
        *("StepStarted", "StepFinished", "SnapshotWritten"),
        "RunFinished",
    ]
    finished = [event for event in flows.events if isinstance(event, StepFinished)]
    assert [(e.step, e.index, e.of, e.result_ignored) for e in finished] == [
        ("a", 0, 2, False),
        ("b", 1, 2, False),
    ]
    assert set(finished[0].seconds) == {"load", "step", "save"}


def test_events_of_a_failure(runner: Runner, flows: FlowFactory) -> None:
    """Hooks get the step and the part that failed, with the very exception."""
    error = OSError("broken")
    flows.faults["save b"] = error
    with pytest.raises(OSError, match="broken"):
        runner(flows.flow())
    failed = [event for event in flows.events if isinstance(event, StepFailed)]
    assert [(e.step, e.index, e.of, e.part, e.cancelled) for e in failed] == [
        ("b", 1, 3, "save", False)
    ]
    assert failed[0].error is error
    ends = [event for event in flows.events if isinstance(event, RunFinished)]
    assert [(e.status, e.position) for e in ends] in ([], [("failed", 1)])


def test_hook_that_fails_breaks_nothing(runner: Runner, tmp_path: Path) -> None:
    """A hook never breaks a run. Its exception is logged."""

    def broken(event: object) -> None:
        message = "broken hook"
        raise RuntimeError(message)

    async def abroken(event: object) -> None:
        message = "broken hook"
        raise RuntimeError(message)

    cp = CheckpointFlow(tmp_path / "c.pkl", hooks=[broken, abroken])
    cp.add_step(name="only")(lambda state: state.update(done=True))
    assert runner(cp) == {"done": True}


def test_result_of_a_step_is_ignored(runner: Runner, flows: FlowFactory) -> None:
    """The result of a step is dropped. The event says that there was one."""
    cp = flows.flow("a")
    cp.add_step(name="b")(lambda state: {"lost": 1})
    assert "lost" not in runner(cp)
    finished = [event for event in flows.events if isinstance(event, StepFinished)]
    assert [event.result_ignored for event in finished] == [False, True]


def test_same_flow_object_runs_again_and_again(any_runner: Runner, flows: FlowFactory) -> None:
    """One flow object runs any number of times, each with data of its own."""
    cp = flows.flow()
    for count in range(1, 4):
        result = any_runner(cp)
        assert result["trail"] == list(NAMES) * count
