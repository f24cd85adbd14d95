"""Flows with more steps than a header names resume, or are refused, like small ones."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
from large_flows import COUNT, NAMES, POSITIONS, flow, renamed, stop_at, stored
from run_factories import resume_all
from support import Runner

from aiocheckpoint import FlowChangedError
from aiocheckpoint._model.step_names import BESIDE, MOST_NAMES, StepNames

if TYPE_CHECKING:
    from run_factories import Runs

MIDDLE = COUNT // 2
RUNNER = Runner("arun")


@pytest.mark.parametrize("position", POSITIONS)
def test_resumes_with_other_later_steps(position: int, runner: Runner, durable_runs: Runs) -> None:
    """With unchanged steps before the position, the rest may change."""
    header = stop_at(durable_runs, runner, position)
    assert (header.position, header.next_step) == (position, NAMES[position])
    later = renamed(*range(position, COUNT))[: COUNT - 3 if position < COUNT - 3 else COUNT]
    plan = runner.allowed_plan(flow(durable_runs, later), run_id="x")
    assert (plan.start, plan.source, plan.relocates) == (position, "stored", False)
    runner(flow(durable_runs, later), run_id="x")
    assert durable_runs.ran() == list(later[position:])
    assert stored(durable_runs).finished


@pytest.mark.parametrize("position", POSITIONS)
def test_any_step_before_that_is_another_is_refused(
    position: int, runner: Runner, durable_runs: Runs
) -> None:
    """A done step that was renamed is an error, however far before the recorded names."""
    stop_at(durable_runs, runner, position)
    for place in {0, position // 2, max(0, position - BESIDE), position - 1}:
        cp = flow(durable_runs, renamed(place))
        with pytest.raises(FlowChangedError, match="reset") as info:
            runner(cp, run_id="x")
        assert info.value.difference == (place if place >= position - BESIDE else None)
        assert info.value.position == position
    assert durable_runs.log == []
    runner(flow(durable_runs), run_id="x", until=position)
    assert durable_runs.ran() == [NAMES[position]]


def test_added_removed_and_swapped_steps_are_refused(durable_runs: Runs) -> None:
    """Steps in another order, added or removed are refused, even if the flow becomes small."""
    stop_at(durable_runs, RUNNER, MIDDLE)
    swapped = (NAMES[1], NAMES[0], *NAMES[2:])
    for names in (swapped, ("new", *NAMES), NAMES[1:], NAMES[:MIDDLE][:-1]):
        with pytest.raises(FlowChangedError):
            RUNNER(flow(durable_runs, names), run_id="x")
    RUNNER(flow(durable_runs, NAMES[:MIDDLE]), run_id="x")
    assert durable_runs.log == []
    assert stored(durable_runs).finished


def test_refusal_in_words(durable_runs: Runs) -> None:
    """The error shows the names next to the position, their number, and the difference."""
    stop_at(durable_runs, RUNNER, MIDDLE)
    with pytest.raises(FlowChangedError) as info:
        RUNNER(flow(durable_runs, renamed(MIDDLE - 1)), run_id="x")
    error, text = info.value, str(info.value)
    assert (error.stored_steps, error.current_steps) == ((), renamed(MIDDLE - 1))
    assert error.excerpt is not None
    assert error.excerpt.names == NAMES[MIDDLE - BESIDE : MIDDLE + BESIDE]
    last = NAMES[MIDDLE - 1]
    assert f"[..., {', '.join(error.excerpt.names)}, ...] ({COUNT} in all)" in text
    assert f"index {MIDDLE - 1} there was {last!r}, and is '{last}-new' now" in text
    assert len(text) < 2000
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.excerpt, again.difference) == (text, error.excerpt, MIDDLE - 1)


def test_refusal_in_words_where_the_difference_is_not_known(durable_runs: Runs) -> None:
    """If the changed step is not among the recorded names, the error says so."""
    stop_at(durable_runs, RUNNER, MIDDLE)
    with pytest.raises(FlowChangedError, match="none of the names that the checkpoint has"):
        RUNNER(flow(durable_runs, renamed(0)), run_id="x")
    with pytest.raises(FlowChangedError, match="there was 'step-0050', and is no step now"):
        RUNNER(flow(durable_runs, NAMES[:50]), run_id="x")


@pytest.mark.parametrize("place", [0, MIDDLE, COUNT - 1])
def test_finished_once(place: int, runner: Runner, durable_runs: Runs) -> None:
    """With `once=True` a finished run gives its result whatever became of its steps."""
    runner(flow(durable_runs), {"n": 1}, run_id="x", once=True)
    durable_runs.log.clear()
    assert runner(flow(durable_runs), {"n": 2}, run_id="x", once=True) == {"n": 1}
    for names in (renamed(place), (*NAMES, "more"), NAMES[:-1]):
        assert runner(flow(durable_runs, names), {"n": 2}, run_id="x", once=True) == {"n": 1}
    assert durable_runs.log == []


@pytest.mark.parametrize("position", [1, MIDDLE, COUNT - 1])
def test_failure_and_attempts(position: int, runner: Runner, durable_runs: Runs) -> None:
    """A failure is recorded beside the names of its position, and its attempts count on."""
    name, seen = NAMES[position], list[int]()

    for _ in range(3):
        cp = flow(durable_runs, NAMES[:position], hooks=[durable_runs.events.append])
        for later in NAMES[position:]:
            cp.add_step(name=later)(lambda state: 1 / 0)
        with pytest.raises(ZeroDivisionError, match="by zero"):
            runner(cp, {}, run_id="x")
        header = stored(durable_runs)
        assert header.failure is not None
        seen.append(header.failure.attempt)
        assert (header.next_step, header.status, header.position) == (name, "failed", position)
        assert header.excerpt == StepNames(NAMES).excerpt(position, finished=False)
    assert seen == [1, 2, 3]
    assert header.attempts == {name: 3}


class Interrupting:
    """Raises KeyboardInterrupt while it is pickled."""

    def __reduce__(self) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize("position", [MIDDLE, COUNT - 1])
def test_interrupted_snapshot(position: int, durable_runs: Runs) -> None:
    """The record of an interrupted snapshot has the step names of the snapshot before."""
    cp = flow(durable_runs, NAMES[:position])
    cp.add_step(name=NAMES[position])(lambda state: state.update(x=Interrupting()))
    for name in NAMES[position + 1 :]:
        durable_runs.add(cp, name)
    with pytest.raises(KeyboardInterrupt):
        cp.run({}, run_id="x")
    header = stored(durable_runs)
    assert (header.status, header.position) == ("cancelled", position)
    assert header.excerpt == StepNames(NAMES).excerpt(position, finished=False)
    cp = flow(durable_runs, renamed(position))
    assert RUNNER.allowed_plan(cp, run_id="x").start == position


@pytest.mark.parametrize("checkpoint", [3, MIDDLE, COUNT - 2])
def test_going_back_to_a_kept_state(checkpoint: int, durable_runs: Runs) -> None:
    """`checkpoint=`, by name or by index, finds the kept state on entry to that step."""
    cp = flow(durable_runs, keep="all")
    RUNNER(cp, {"n": 1}, run_id="x")
    for wanted in (checkpoint, NAMES[checkpoint]):
        plan = RUNNER.allowed_plan(cp, checkpoint=wanted, run_id="x")
        assert (plan.start, plan.source) == (checkpoint, "kept")
        assert plan.kept is not None
        assert plan.kept.next_step == NAMES[checkpoint]
    other = flow(durable_runs, renamed(checkpoint), keep="all")
    assert RUNNER.allowed_plan(other, checkpoint=checkpoint, run_id="x").source == "stored"
    durable_runs.log.clear()
    RUNNER(cp, run_id="x", checkpoint=NAMES[checkpoint])
    assert durable_runs.ran() == list(NAMES[checkpoint:])


def test_way_on_with_checkpoint(durable_runs: Runs) -> None:
    """After a refusal, `checkpoint=` resumes, and the new names are stored with its start."""
    stop_at(durable_runs, RUNNER, MIDDLE)
    cp = flow(durable_runs, renamed(0))
    RUNNER(cp, run_id="x", checkpoint=MIDDLE, until=MIDDLE)
    assert durable_runs.ran() == [NAMES[MIDDLE]]
    assert RUNNER.allowed_plan(cp, run_id="x").start == MIDDLE + 1
    with pytest.raises(FlowChangedError):
        RUNNER.allowed_plan(flow(durable_runs), run_id="x")


def test_patched_position(durable_runs: Runs) -> None:
    """A run moved by `patch()` has the names of its new position, and resumes by them."""
    stop_at(durable_runs, RUNNER, MIDDLE)
    for position in (2, COUNT - 1):
        header = RUNNER.do(flow(durable_runs), "patch", {}, position, run_id="x")
        assert header.next_step == NAMES[position]
        assert (
            RUNNER.allowed_plan(flow(durable_runs, renamed(position)), run_id="x").start == position
        )
        with pytest.raises(FlowChangedError):
            RUNNER.allowed_plan(flow(durable_runs, renamed(position - 1)), run_id="x")
    assert RUNNER.do(flow(durable_runs), "patch", {}, COUNT, run_id="x").finished
    assert RUNNER(flow(durable_runs), run_id="x", once=True) == {"n": 1}


@pytest.mark.parametrize("position", [1, MIDDLE - BESIDE, MIDDLE + 2, COUNT - 1])
def test_position_written_by_hand(position: int, durable_runs: Runs) -> None:
    """A state written back with another position resumes there, if no step changed."""
    stop_at(durable_runs, RUNNER, MIDDLE)
    handler = flow(durable_runs).handler
    handler.write({**handler.read("x"), "checkpoint_index": position}, "x")
    with pytest.raises(FlowChangedError):
        RUNNER.allowed_plan(flow(durable_runs, renamed(0)), run_id="x")
    RUNNER(flow(durable_runs), run_id="x")
    assert durable_runs.ran() == list(NAMES[position:])


def test_written_by_hand_is_the_newest_state_on_entry(durable_runs: Runs) -> None:
    """`checkpoint=` starts a far step with the state written by hand for it, as the newest."""
    stop_at(durable_runs, RUNNER, MIDDLE, keep="all")
    cp = flow(durable_runs, keep="all")
    cp.handler.write({"n": 2, "checkpoint_index": 2}, "x")
    plan = RUNNER.allowed_plan(cp, checkpoint=2, run_id="x")
    assert (plan.start, plan.source, plan.kept) == (2, "stored", None)
    assert RUNNER.allowed_plan(cp, checkpoint=3, run_id="x").source == "kept"


def test_resumed_with_all(durable_runs: Runs) -> None:
    """Lists show the next step of each unfinished run, and `resume_all` finishes them."""
    for number, run_id in enumerate("xyz", 1):
        flow(durable_runs).run({}, run_id=run_id, until=number * 30)
    durable_runs.log.clear()
    headers = flow(durable_runs).runs()
    assert {header.run_id: header.next_step for header in headers} == {
        run_id: NAMES[number * 30 + 1] for number, run_id in enumerate("xyz", 1)
    }
    results = resume_all(flow(durable_runs))
    assert [results[run_id].status for run_id in "xyz"] == ["finished"] * 3
    assert len(durable_runs.log) == sum(COUNT - number * 30 - 1 for number in (1, 2, 3))


@pytest.mark.parametrize("count", [MOST_NAMES, MOST_NAMES + 1])
def test_how_many_names_are_all(count: int, durable_runs: Runs) -> None:
    """A header names all steps of a flow of a hundred. Of a larger flow it has an excerpt."""
    names = NAMES[:count]
    RUNNER(flow(durable_runs, names), {}, run_id="x")
    header = stored(durable_runs)
    if count == MOST_NAMES:
        assert (header.steps, header.excerpt) == (names, None)
        assert tuple(header.durations) == names
    else:
        assert (header.steps, header.next_step) == (None, None)
        assert header.excerpt is not None
        assert (header.excerpt.count, header.excerpt.names[-1]) == (count, names[-1])
        assert tuple(header.durations) == names[-20:]
