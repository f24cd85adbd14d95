"""With `keep="all"`, `checkpoint=` goes back to the state as it was on entry to a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from keeping import (
    STEPS,
    flow_run,
    kept_files,
    kept_headers,
    kept_names,
    leave_unsigned,
    overwrite,
    stop_after,
    undisturbed,
)
from support import Door, Lab, State, fail

from aiocheckpoint import FlowChangedError, LocalStateHandler

if TYPE_CHECKING:
    from aiocheckpoint.handlers._retention import Keep

KEEP: Keep = "all"


def on_entry(step: str) -> State:
    """Give the state on entry to a step of a run that loads everything."""
    before = list(STEPS[: STEPS.index(step)])
    return {"loads": before, "trail": [*before]} if before else {}


def go_back(lab: Lab, door: Door, step: str, state: State | None = None) -> State:
    """Run from a step on, loading everything."""
    lab.log.clear()
    return door(lab.flow(*STEPS, fsync=False, keep=KEEP), state, "always", checkpoint=step)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("stored", ["failed", "stopped", "finished"])
def test_state_on_entry(stored: str, step: str, door: Door, lab: Lab) -> None:
    """From whichever step a run is repeated, it ends as if it had run through once."""
    leave(lab, stored)
    plan = door.plan(lab.flow(*STEPS, keep=KEEP), None, "always", step)
    newest = plan.source == "stored"  # on entry to d, where the run was left
    assert newest == (stored != "finished" and step == "d")
    assert plan.kept is None if newest else plan.kept is not None
    assert not plan.fresh
    assert go_back(lab, door, step) == undisturbed()
    assert lab.ran() == list(STEPS[STEPS.index(step) :])
    assert lab.header().number == 1


def leave(lab: Lab, stored: str) -> None:
    """Bring a run of all loaders to its end, or to the entry of d."""
    if stored == "failed":
        error = lab.faults["step d"] = ValueError()
        fail(Door("run"), lab.flow(*STEPS, fsync=False, keep=KEEP), error)
        lab.faults.clear()
        lab.log.clear()
        lab.events.clear()
    else:
        stop_after(lab, "c" if stored == "stopped" else "d", keep=KEEP)


def test_going_back_is_in_the_words_of_the_plan(door: Door, lab: Lab) -> None:
    """The plan says in words whose state it is that the run starts with."""
    flow_run(lab, door, keep=KEEP)
    plan = door.plan(lab.flow(*STEPS, keep=KEEP), checkpoint="b")
    assert "the state as it was on entry to it" in str(plan)
    assert plan.kept is not None
    assert (plan.kept.next_step, plan.kept.number) == ("b", 1)


@pytest.mark.parametrize("step", [1, "b"])
def test_by_index_or_name(step: int | str, door: Door, lab: Lab) -> None:
    """An index and a name mean the same step, and so the same state."""
    flow_run(lab, door, keep=KEEP)
    cp = lab.flow(*STEPS, fsync=False, keep=KEEP)
    assert door(cp, None, "always", checkpoint=step) == undisturbed()


def test_backwards_again_and_again(door: Door, lab: Lab) -> None:
    """A run can go back from where it went back to, and forward, as often as one likes."""
    flow_run(lab, door, keep=KEEP)
    for step in ("d", "c", "d", "b", "c", "a", "d", "a"):
        lab.faults[f"save {step}"] = ValueError()
        with pytest.raises(ValueError, match=f"'{step}', broke"):
            go_back(lab, door, step)
        state = lab.stored()
        assert (state.pop("checkpoint_index"), state) == (STEPS.index(step), on_entry(step))
        lab.faults.clear()
    assert flow_run(lab, door, keep=KEEP) == undisturbed()
    assert lab.header().number == 1


@pytest.mark.parametrize("part", ["load", "step"])
def test_first_step_of_a_finished_run(part: str, door: Door, lab: Lab) -> None:
    """Going back to it is stored too, so that a run that breaks there has the state from there."""
    flow_run(lab, door, keep=KEEP)
    lab.faults[f"{part} a"] = ValueError()
    with pytest.raises(ValueError, match="'a', broke"):
        go_back(lab, door, "a")
    lab.faults.clear()
    assert (lab.header().status, lab.stored()) == ("failed", {"checkpoint_index": 0})
    assert flow_run(lab, door, keep=KEEP) == undisturbed()


def test_another_step_at_the_same_place(door: Door, lab: Lab) -> None:
    """A run that stands before another step of that index goes back to the state before this."""
    stop_after(lab, "b", keep=KEEP)
    other = lab.flow("a", "b", "x", "d", fsync=False, keep=KEEP)
    door(other, None, "always", "b", until="b")
    door.do(other, "patch", None, {"patch": "before x"})
    lab.faults["load c"] = ValueError()
    with pytest.raises(ValueError, match="'c', broke"):
        go_back(lab, door, "c")
    assert lab.stored() == {**on_entry("c"), "checkpoint_index": 2}
    lab.faults.clear()
    assert flow_run(lab, door, keep=KEEP) == undisturbed()


def test_newest_entry_counts(door: Door, lab: Lab) -> None:
    """Of several states on entry to one step, the one of the latest passage is meant."""
    flow_run(lab, door, keep=KEEP)
    handler = LocalStateHandler(lab.path, keep=KEEP, fsync=False)
    for number in range(3):
        door.write(handler, {**on_entry("c"), "patch": number, "checkpoint_index": 2})
    flow_run(lab, door, keep=KEEP)
    assert go_back(lab, door, "c") == {**undisturbed(), "patch": 2}
    assert go_back(lab, door, "b") == undisturbed()


def test_inserted_removed_and_renamed_steps(door: Door, lab: Lab) -> None:
    """States are found by the name of the step that they lead to, wherever it stands now."""
    flow_run(lab, door, keep=KEEP)
    lab.log.clear()
    changed = ("new", "c", "b", "e")
    state = door(lab.flow(*changed, fsync=False, keep=KEEP), None, "always", checkpoint="b")
    assert lab.ran() == ["b", "e"]
    assert state["trail"] == ["a", "b", "e"]
    assert lab.header().steps == changed


def test_renamed_step_has_no_entry(door: Door, lab: Lab) -> None:
    """A step that had another name was never entered: it starts with the stored state."""
    flow_run(lab, door, keep=KEEP)
    lab.log.clear()
    cp = lab.flow("a", "bee", "c", "d", fsync=False, keep=KEEP)
    assert door.plan(cp, checkpoint="bee").source == "stored"
    state = door(cp, None, "always", checkpoint="bee")
    assert state["trail"] == [*STEPS, "bee", "c", "d"]


def test_changed_steps_still_need_a_word(door: Door, lab: Lab) -> None:
    """Without `checkpoint=` steps that changed before the position are an error, as ever."""
    stop_after(lab, "c", keep=KEEP)
    with pytest.raises(FlowChangedError):
        door(lab.flow("x", *STEPS, keep=KEEP))
    state = door(lab.flow("x", *STEPS, fsync=False, keep=KEEP), None, "always", checkpoint="c")
    assert state == undisturbed()


def test_fresh_run_deletes_the_history(door: Door, lab: Lab) -> None:
    """What a run before the last one went through is neither kept nor gone back to."""
    lab.flow(*STEPS, fsync=False, keep=KEEP).run({"old": True})
    lab.flow(*STEPS, fsync=False, keep=KEEP).run({"new": True}, "always", until="b")
    assert kept_names(lab.path) == ["2-6", "2-7", "2-8"]
    assert go_back(lab, door, "b") == {**undisturbed(), "new": True}
    assert door.plan(lab.flow(*STEPS, keep=KEEP), checkpoint="d").kept is not None


def test_step_that_this_run_never_entered(door: Door, lab: Lab) -> None:
    """Where this run never came to a step, it starts there with the stored state."""
    flow_run(lab, door, keep=KEEP)
    stop_after(lab, "a", keep=KEEP)
    plan = door.plan(lab.flow(*STEPS, keep=KEEP), checkpoint="d")
    assert (plan.source, plan.kept, plan.start) == ("stored", None, 3)
    assert go_back(lab, door, "d")["trail"] == ["a", "d"]


@pytest.mark.parametrize("step", STEPS)
def test_given_state_after_a_finished_run(step: str, door: Door, lab: Lab) -> None:
    """After a finished run a given dict is used as it is, at whatever step, as a new run."""
    flow_run(lab, door, keep=KEEP)
    given: State = {"given": True}
    assert go_back(lab, door, step, given) is given
    assert given["trail"] == list(STEPS[STEPS.index(step) :])
    assert lab.header().number == 2


def test_given_state_in_an_unfinished_run(door: Door, lab: Lab) -> None:
    """In an unfinished run the kept state overrules a given dict, and the plan says so."""
    stop_after(lab, "c", keep=KEEP)
    given: State = {"given": True}
    assert go_back(lab, door, "b", given) == undisturbed()
    assert given == {"given": True}
    assert lab.plans()[-1].ignores_given


@pytest.mark.parametrize(("keep", "step", "source"), [(3, "c", "kept"), (3, "b", "stored")])
def test_number_keeps_as_far_as_it_goes(
    keep: Keep, step: str, source: str, door: Door, lab: Lab
) -> None:
    """With a number, too, a kept state is gone back to; behind it there is the stored one."""
    flow_run(lab, door, keep=keep)
    assert door.plan(lab.flow(*STEPS, keep=keep), checkpoint=step).source == source


@pytest.mark.parametrize("forged", [True, False], ids=["forged", "damaged"])
def test_entry_that_is_not_sound(forged: bool, door: Door, lab: Lab) -> None:  # noqa: FBT001
    """A kept state that is damaged or forged is not gone back to; nothing of it is loaded."""
    secret = {"secret": "s" * 32} if forged else {}
    flow_run(lab, door, keep=KEEP, **secret)
    spoil = leave_unsigned if forged else overwrite
    spoil(kept_files(lab.path)[1])
    cp = lab.flow(*STEPS, fsync=False, keep=KEEP, **secret)
    assert door.plan(cp, checkpoint="b").source == "stored"
    assert door(cp, None, "always", checkpoint="c") == undisturbed()


def test_going_back_without_all(door: Door, lab: Lab) -> None:
    """What "all" has kept can be gone back to by a flow that keeps some, but not by one."""
    flow_run(lab, door, keep=KEEP)
    assert door.plan(lab.flow(*STEPS, keep=3), checkpoint="b").source == "kept"
    assert door.plan(lab.flow(*STEPS), checkpoint="b").source == "stored"


def test_runs_go_back_apart(door: Door, lab: Lab) -> None:
    """Each run id goes back to its own states."""
    cp = lab.flow(*STEPS, fsync=False, keep=KEEP)
    for run_id in ("x", "y"):
        door(cp, {"id": run_id}, "always", run_id=run_id)
    for run_id in ("x", "y"):
        state = door(cp, None, "always", "c", run_id=run_id)
        assert state == {**undisturbed(), "id": run_id}


def test_going_back_is_told_in_the_history(door: Door, lab: Lab) -> None:
    """Going back takes one snapshot on entry, and each step one more: nothing is cut off."""
    flow_run(lab, door, keep=KEEP)
    go_back(lab, door, "c")
    entered = [header.next_step for header in kept_headers(lab.path)]
    assert entered == [*STEPS, None, "c", "d", None]
