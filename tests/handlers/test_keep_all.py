"""With `keep="all"`, `checkpoint=` returns to the state on entry to a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kept_snapshots import (
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
from support import FlowFactory, Runner, State, fail

from aiocheckpoint import FlowChangedError, GivenStateIgnoredWarning, LocalStateHandler

if TYPE_CHECKING:
    from aiocheckpoint.handlers._retention import Keep

KEEP: Keep = "all"


def on_entry(step: str) -> State:
    """Return the state on entry to a step of a run that calls every loader."""
    before = list(STEPS[: STEPS.index(step)])
    return {"loads": before, "trail": [*before]} if before else {}


def go_back(flows: FlowFactory, runner: Runner, step: str, state: State | None = None) -> State:
    """Run from a step, calling every loader."""
    flows.log.clear()
    return runner(flows.flow(*STEPS, fsync=False, keep=KEEP), state, "always", checkpoint=step)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("stored", ["failed", "stopped", "finished"])
def test_state_on_entry(stored: str, step: str, runner: Runner, flows: FlowFactory) -> None:
    """A run repeated from any step ends with the result of a single run."""
    leave(flows, stored)
    plan = runner.plan(flows.flow(*STEPS, keep=KEEP), None, "always", step)
    newest = plan.source == "stored"  # on entry to d, where the run was left
    assert newest == (stored != "finished" and step == "d")
    assert plan.kept is None if newest else plan.kept is not None
    assert not plan.fresh
    assert go_back(flows, runner, step) == undisturbed()
    assert flows.ran() == list(STEPS[STEPS.index(step) :])
    assert flows.header().number == 1


def leave(flows: FlowFactory, stored: str) -> None:
    """Run with every loader to the end, or to the entry of d."""
    if stored == "failed":
        error = flows.faults["step d"] = ValueError()
        fail(Runner("run"), flows.flow(*STEPS, fsync=False, keep=KEEP), error)
        flows.faults.clear()
        flows.log.clear()
        flows.events.clear()
    else:
        stop_after(flows, "c" if stored == "stopped" else "d", keep=KEEP)


def test_going_back_is_in_the_words_of_the_plan(runner: Runner, flows: FlowFactory) -> None:
    """The plan's text names the state that the run starts with."""
    flow_run(flows, runner, keep=KEEP)
    plan = runner.plan(flows.flow(*STEPS, keep=KEEP), checkpoint="b")
    assert "the state as it was on entry to it" in str(plan)
    assert plan.kept is not None
    assert (plan.kept.next_step, plan.kept.number) == ("b", 1)


@pytest.mark.parametrize("step", [1, "b"])
def test_by_index_or_name(step: int | str, runner: Runner, flows: FlowFactory) -> None:
    """An index and a name mean the same step, and so the same state."""
    flow_run(flows, runner, keep=KEEP)
    cp = flows.flow(*STEPS, fsync=False, keep=KEEP)
    assert runner(cp, None, "always", checkpoint=step) == undisturbed()


def test_backwards_again_and_again(runner: Runner, flows: FlowFactory) -> None:
    """A run can go back and forward repeatedly."""
    flow_run(flows, runner, keep=KEEP)
    for step in ("d", "c", "d", "b", "c", "a", "d", "a"):
        flows.faults[f"save {step}"] = ValueError()
        with pytest.raises(ValueError, match=f"'{step}', broke"):
            go_back(flows, runner, step)
        state = flows.stored()
        assert (state.pop("checkpoint_index"), state) == (STEPS.index(step), on_entry(step))
        flows.faults.clear()
    assert flow_run(flows, runner, keep=KEEP) == undisturbed()
    assert flows.header().number == 1


@pytest.mark.parametrize("part", ["load", "step"])
def test_first_step_of_a_finished_run(part: str, runner: Runner, flows: FlowFactory) -> None:
    """Going back to the first step is stored, so that a failure there keeps the state on entry."""
    flow_run(flows, runner, keep=KEEP)
    flows.faults[f"{part} a"] = ValueError()
    with pytest.raises(ValueError, match="'a', broke"):
        go_back(flows, runner, "a")
    flows.faults.clear()
    assert (flows.header().status, flows.stored()) == ("failed", {"checkpoint_index": 0})
    assert flow_run(flows, runner, keep=KEEP) == undisturbed()


def test_another_step_at_the_same_position(runner: Runner, flows: FlowFactory) -> None:
    """Going back from another step of the same index restores the state before this step."""
    stop_after(flows, "b", keep=KEEP)
    other = flows.flow("a", "b", "x", "d", fsync=False, keep=KEEP)
    runner(other, None, "always", "b", until="b")
    runner.do(other, "patch", {"patch": "before x"})
    flows.faults["load c"] = ValueError()
    with pytest.raises(ValueError, match="'c', broke"):
        go_back(flows, runner, "c")
    assert flows.stored() == {**on_entry("c"), "checkpoint_index": 2}
    flows.faults.clear()
    assert flow_run(flows, runner, keep=KEEP) == undisturbed()


def test_newest_entry_counts(runner: Runner, flows: FlowFactory) -> None:
    """Of several states on entry to one step, the latest is used."""
    flow_run(flows, runner, keep=KEEP)
    handler = LocalStateHandler(flows.path, keep=KEEP, fsync=False)
    for number in range(3):
        runner.write(handler, {**on_entry("c"), "patch": number, "checkpoint_index": 2})
    flow_run(flows, runner, keep=KEEP)
    assert go_back(flows, runner, "c") == {**undisturbed(), "patch": 2}
    assert go_back(flows, runner, "b") == undisturbed()


def test_inserted_removed_and_renamed_steps(runner: Runner, flows: FlowFactory) -> None:
    """States are found by the name of their next step, at any index in the present flow."""
    flow_run(flows, runner, keep=KEEP)
    flows.log.clear()
    changed = ("new", "c", "b", "e")
    state = runner(flows.flow(*changed, fsync=False, keep=KEEP), None, "always", checkpoint="b")
    assert flows.ran() == ["b", "e"]
    assert state["trail"] == ["a", "b", "e"]
    assert flows.header().steps == changed


def test_renamed_step_has_no_entry(runner: Runner, flows: FlowFactory) -> None:
    """A renamed step was never entered under its new name. It starts with the stored state."""
    flow_run(flows, runner, keep=KEEP)
    flows.log.clear()
    cp = flows.flow("a", "bee", "c", "d", fsync=False, keep=KEEP)
    assert runner.plan(cp, checkpoint="bee").source == "stored"
    state = runner(cp, None, "always", checkpoint="bee")
    assert state["trail"] == [*STEPS, "bee", "c", "d"]


def test_changed_steps_still_need_a_word(runner: Runner, flows: FlowFactory) -> None:
    """Without `checkpoint=`, steps that changed before the position are an error as usual."""
    stop_after(flows, "c", keep=KEEP)
    with pytest.raises(FlowChangedError):
        runner(flows.flow("x", *STEPS, keep=KEEP))
    state = runner(flows.flow("x", *STEPS, fsync=False, keep=KEEP), None, "always", checkpoint="c")
    assert state == undisturbed()


def test_fresh_run_deletes_the_history(runner: Runner, flows: FlowFactory) -> None:
    """The snapshots of earlier runs are deleted, and never used for going back."""
    flows.flow(*STEPS, fsync=False, keep=KEEP).run({"old": True})
    flows.flow(*STEPS, fsync=False, keep=KEEP).run({"new": True}, "always", until="b")
    assert kept_names(flows.path) == ["2-6", "2-7", "2-8"]
    assert go_back(flows, runner, "b") == {**undisturbed(), "new": True}
    assert runner.plan(flows.flow(*STEPS, keep=KEEP), checkpoint="d").kept is not None


def test_step_that_this_run_never_entered(runner: Runner, flows: FlowFactory) -> None:
    """A step that this run never entered starts with the stored state."""
    flow_run(flows, runner, keep=KEEP)
    stop_after(flows, "a", keep=KEEP)
    plan = runner.plan(flows.flow(*STEPS, keep=KEEP), checkpoint="d")
    assert (plan.source, plan.kept, plan.start) == ("stored", None, 3)
    assert go_back(flows, runner, "d")["trail"] == ["a", "d"]


@pytest.mark.parametrize("step", STEPS)
def test_given_state_after_a_finished_run(step: str, runner: Runner, flows: FlowFactory) -> None:
    """After a finished run a given dict starts a new run, unchanged, at any step."""
    flow_run(flows, runner, keep=KEEP)
    given: State = {"given": True}
    assert go_back(flows, runner, step, given) is given
    assert given["trail"] == list(STEPS[STEPS.index(step) :])
    assert flows.header().number == 2


def test_given_state_in_an_unfinished_run(runner: Runner, flows: FlowFactory) -> None:
    """In an unfinished run the kept state replaces a given dict, and the plan says so."""
    stop_after(flows, "c", keep=KEEP)
    given: State = {"given": True}
    with pytest.warns(GivenStateIgnoredWarning):
        assert go_back(flows, runner, "b", given) == undisturbed()
    assert given == {"given": True}
    assert flows.plans()[-1].ignores_given


@pytest.mark.parametrize(("keep", "step", "source"), [(3, "c", "kept"), (3, "b", "stored")])
def test_number_keeps_as_far_as_it_goes(
    keep: Keep, step: str, source: str, runner: Runner, flows: FlowFactory
) -> None:
    """With a number, the kept states are used too. Earlier steps start with the stored state."""
    flow_run(flows, runner, keep=keep)
    assert runner.plan(flows.flow(*STEPS, keep=keep), checkpoint=step).source == source


@pytest.mark.parametrize("forged", [True, False], ids=["forged", "damaged"])
def test_entry_that_is_not_sound(forged: bool, runner: Runner, flows: FlowFactory) -> None:  # noqa: FBT001
    """A damaged or forged kept state is not used, and nothing of it is loaded."""
    secret = {"secret": "s" * 32} if forged else {}
    flow_run(flows, runner, keep=KEEP, **secret)
    corrupt = leave_unsigned if forged else overwrite
    corrupt(kept_files(flows.path)[1])
    cp = flows.flow(*STEPS, fsync=False, keep=KEEP, **secret)
    assert runner.plan(cp, checkpoint="b").source == "stored"
    assert runner(cp, None, "always", checkpoint="c") == undisturbed()


def test_going_back_without_all(runner: Runner, flows: FlowFactory) -> None:
    """Kept states of "all" are used by a flow with a number, and not by one with `keep=1`."""
    flow_run(flows, runner, keep=KEEP)
    assert runner.plan(flows.flow(*STEPS, keep=3), checkpoint="b").source == "kept"
    assert runner.plan(flows.flow(*STEPS), checkpoint="b").source == "stored"


def test_runs_go_back_apart(runner: Runner, flows: FlowFactory) -> None:
    """Each run id goes back to its own states."""
    cp = flows.flow(*STEPS, fsync=False, keep=KEEP)
    for run_id in ("x", "y"):
        runner(cp, {"id": run_id}, "always", run_id=run_id)
    for run_id in ("x", "y"):
        state = runner(cp, None, "always", "c", run_id=run_id)
        assert state == {**undisturbed(), "id": run_id}


def test_going_back_appears_in_the_history(runner: Runner, flows: FlowFactory) -> None:
    """Going back adds one snapshot on entry, and each step one more. Nothing is deleted."""
    flow_run(flows, runner, keep=KEEP)
    go_back(flows, runner, "c")
    entered = [header.next_step for header in kept_headers(flows.path)]
    assert entered == [*STEPS, None, "c", "d", None]
