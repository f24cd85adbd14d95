"""Flows of more steps than a header names are resumed, and refused, by the rule of small ones."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
from large_flows import COUNT, NAMES, POSITIONS, flow, renamed, stop_at, stored
from many import resume_all
from support import Door

from aiocheckpoint import FlowChangedError
from aiocheckpoint._model.step_names import BESIDE, MOST_NAMES, StepNames

if TYPE_CHECKING:
    from many import Runs

MIDDLE = COUNT // 2
DOOR = Door("arun")


@pytest.mark.parametrize("position", POSITIONS)
def test_goes_on_with_other_later_steps(position: int, door: Door, lasting: Runs) -> None:
    """Where the steps before the position are as they were, the rest runs as it now is."""
    header = stop_at(lasting, door, position)
    assert (header.position, header.next_step) == (position, NAMES[position])
    later = renamed(*range(position, COUNT))[: COUNT - 3 if position < COUNT - 3 else COUNT]
    plan = door.plan(flow(lasting, later), run_id="x")
    assert (plan.start, plan.source, plan.relocates) == (position, "stored", False)
    door(flow(lasting, later), run_id="x")
    assert lasting.ran() == list(later[position:])
    assert stored(lasting).finished


@pytest.mark.parametrize("position", POSITIONS)
def test_any_step_before_that_is_another_is_refused(
    position: int, door: Door, lasting: Runs
) -> None:
    """A done step that has another name is an error, however far before the names that are told."""
    stop_at(lasting, door, position)
    for place in {0, position // 2, max(0, position - BESIDE), position - 1}:
        cp = flow(lasting, renamed(place))
        with pytest.raises(FlowChangedError, match="reset") as info:
            door(cp, run_id="x")
        assert info.value.difference == (place if place >= position - BESIDE else None)
        assert info.value.position == position
    assert lasting.log == []
    door(flow(lasting), run_id="x", until=position)
    assert lasting.ran() == [NAMES[position]]


def test_added_removed_and_swapped_steps_are_refused(lasting: Runs) -> None:
    """So is another order, another step between them, and one less, also of a flow grown small."""
    stop_at(lasting, DOOR, MIDDLE)
    swapped = (NAMES[1], NAMES[0], *NAMES[2:])
    for names in (swapped, ("new", *NAMES), NAMES[1:], NAMES[:MIDDLE][:-1]):
        with pytest.raises(FlowChangedError):
            DOOR(flow(lasting, names), run_id="x")
    DOOR(flow(lasting, NAMES[:MIDDLE]), run_id="x")
    assert lasting.log == []
    assert stored(lasting).finished


def test_refusal_in_words(lasting: Runs) -> None:
    """The error shows the names next to the position, how many there are, and what differs."""
    stop_at(lasting, DOOR, MIDDLE)
    with pytest.raises(FlowChangedError) as info:
        DOOR(flow(lasting, renamed(MIDDLE - 1)), run_id="x")
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


def test_refusal_in_words_where_the_difference_is_not_known(lasting: Runs) -> None:
    """Where the step that differs is none of those told, the error says that."""
    stop_at(lasting, DOOR, MIDDLE)
    with pytest.raises(FlowChangedError, match="none of the names that the checkpoint has"):
        DOOR(flow(lasting, renamed(0)), run_id="x")
    with pytest.raises(FlowChangedError, match="there was 'step-0050', and is no step now"):
        DOOR(flow(lasting, NAMES[:50]), run_id="x")


@pytest.mark.parametrize("place", [0, MIDDLE, COUNT - 1])
def test_finished_once(place: int, door: Door, lasting: Runs) -> None:
    """With once=True all steps count: the finished run is not begun anew, nor mistaken."""
    door(flow(lasting), {"n": 1}, run_id="x", once=True)
    lasting.log.clear()
    assert door(flow(lasting), {"n": 2}, run_id="x", once=True) == {"n": 1}
    for names in (renamed(place), (*NAMES, "more"), NAMES[:-1]):
        with pytest.raises(FlowChangedError) as info:
            door(flow(lasting, names), {"n": 2}, run_id="x", once=True)
        assert info.value.position == COUNT
    assert lasting.log == []


@pytest.mark.parametrize("position", [1, MIDDLE, COUNT - 1])
def test_failure_and_attempts(position: int, door: Door, lasting: Runs) -> None:
    """A failure is recorded beside the names of its position, and its attempts are counted on."""
    name, seen = NAMES[position], list[int]()

    for _ in range(3):
        cp = flow(lasting, NAMES[:position], hooks=[lasting.events.append])
        for later in NAMES[position:]:
            cp.add_step(name=later)(lambda state: 1 / 0)
        with pytest.raises(ZeroDivisionError, match="by zero"):
            door(cp, {}, run_id="x")
        header = stored(lasting)
        assert header.failure is not None
        seen.append(header.failure.attempt)
        assert (header.next_step, header.status, header.position) == (name, "failed", position)
        assert header.excerpt == StepNames(NAMES).excerpt(position, finished=False)
    assert seen == [1, 2, 3]
    assert header.attempts == {name: 3}


class Interrupting:
    """Is met by Ctrl-C while it is stored."""

    def __reduce__(self) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize("position", [MIDDLE, COUNT - 1])
def test_interrupted_snapshot(position: int, lasting: Runs) -> None:
    """What is recorded of a snapshot that was not written stands beside the names of the last."""
    cp = flow(lasting, NAMES[:position])
    cp.add_step(name=NAMES[position])(lambda state: state.update(x=Interrupting()))
    for name in NAMES[position + 1 :]:
        lasting.add(cp, name)
    with pytest.raises(KeyboardInterrupt):
        cp.run({}, run_id="x")
    header = stored(lasting)
    assert (header.status, header.position) == ("cancelled", position)
    assert header.excerpt == StepNames(NAMES).excerpt(position, finished=False)
    cp = flow(lasting, renamed(position))
    assert DOOR.plan(cp, run_id="x").start == position


@pytest.mark.parametrize("checkpoint", [3, MIDDLE, COUNT - 2])
def test_going_back_to_a_kept_state(checkpoint: int, lasting: Runs) -> None:
    """checkpoint= by name finds the state as it was on entry to that step, by index as well."""
    cp = flow(lasting, keep="all")
    DOOR(cp, {"n": 1}, run_id="x")
    for wanted in (checkpoint, NAMES[checkpoint]):
        plan = DOOR.plan(cp, checkpoint=wanted, run_id="x")
        assert (plan.start, plan.source) == (checkpoint, "kept")
        assert plan.kept is not None
        assert plan.kept.next_step == NAMES[checkpoint]
    other = flow(lasting, renamed(checkpoint), keep="all")
    assert DOOR.plan(other, checkpoint=checkpoint, run_id="x").source == "stored"
    lasting.log.clear()
    DOOR(cp, run_id="x", checkpoint=NAMES[checkpoint])
    assert lasting.ran() == list(NAMES[checkpoint:])


def test_way_on_with_checkpoint(lasting: Runs) -> None:
    """After a refusal, checkpoint= goes on, and the new names are stored with its start."""
    stop_at(lasting, DOOR, MIDDLE)
    cp = flow(lasting, renamed(0))
    DOOR(cp, run_id="x", checkpoint=MIDDLE, until=MIDDLE)
    assert lasting.ran() == [NAMES[MIDDLE]]
    assert DOOR.plan(cp, run_id="x").start == MIDDLE + 1
    with pytest.raises(FlowChangedError):
        DOOR.plan(flow(lasting), run_id="x")


def test_patched_position(lasting: Runs) -> None:
    """A run that is sent elsewhere by patch() has the names of there, and resumes by them."""
    stop_at(lasting, DOOR, MIDDLE)
    for position in (2, COUNT - 1):
        header = DOOR.do(flow(lasting), "patch", "x", {}, position)
        assert header.next_step == NAMES[position]
        assert DOOR.plan(flow(lasting, renamed(position)), run_id="x").start == position
        with pytest.raises(FlowChangedError):
            DOOR.plan(flow(lasting, renamed(position - 1)), run_id="x")
    assert DOOR.do(flow(lasting), "patch", "x", {}, COUNT).finished
    assert DOOR(flow(lasting), run_id="x", once=True) == {"n": 1}


@pytest.mark.parametrize("position", [1, MIDDLE - BESIDE, MIDDLE + 2, COUNT - 1])
def test_position_written_by_hand(position: int, lasting: Runs) -> None:
    """A state that is written back with another position goes on there, if no step changed."""
    stop_at(lasting, DOOR, MIDDLE)
    handler = flow(lasting).handler
    handler.write({**handler.read("x"), "checkpoint_index": position}, "x")
    with pytest.raises(FlowChangedError):
        DOOR.plan(flow(lasting, renamed(0)), run_id="x")
    DOOR(flow(lasting), run_id="x")
    assert lasting.ran() == list(NAMES[position:])


def test_written_by_hand_is_the_newest_state_on_entry(lasting: Runs) -> None:
    """A state written by hand for a far step is the one that checkpoint= starts that step with."""
    stop_at(lasting, DOOR, MIDDLE, keep="all")
    cp = flow(lasting, keep="all")
    cp.handler.write({"n": 2, "checkpoint_index": 2}, "x")
    plan = DOOR.plan(cp, checkpoint=2, run_id="x")
    assert (plan.start, plan.source, plan.kept) == (2, "stored", None)
    assert DOOR.plan(cp, checkpoint=3, run_id="x").source == "kept"


def test_resumed_with_all(lasting: Runs) -> None:
    """What a killed service left is listed by where it stands, and goes on with the others."""
    for number, run_id in enumerate("xyz", 1):
        flow(lasting).run({}, run_id=run_id, until=number * 30)
    lasting.log.clear()
    headers = flow(lasting).runs()
    assert {header.run_id: header.next_step for header in headers} == {
        run_id: NAMES[number * 30 + 1] for number, run_id in enumerate("xyz", 1)
    }
    results = resume_all(flow(lasting))
    assert [results[run_id].status for run_id in "xyz"] == ["finished"] * 3
    assert len(lasting.log) == sum(COUNT - number * 30 - 1 for number in (1, 2, 3))


@pytest.mark.parametrize("count", [MOST_NAMES, MOST_NAMES + 1])
def test_how_many_names_are_all(count: int, lasting: Runs) -> None:
    """A header has all names of a hundred steps, with what all took, and of more it has not."""
    names = NAMES[:count]
    DOOR(flow(lasting, names), {}, run_id="x")
    header = stored(lasting)
    if count == MOST_NAMES:
        assert (header.steps, header.excerpt) == (names, None)
        assert tuple(header.durations) == names
    else:
        assert (header.steps, header.next_step) == (None, None)
        assert header.excerpt is not None
        assert (header.excerpt.count, header.excerpt.names[-1]) == (count, names[-1])
        assert tuple(header.durations) == names[-20:]
