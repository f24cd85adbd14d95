"""Steps changed between runs: permitted changes, refused changes, and the remedies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import NAMES, FlowFactory, Runner, dump_bare, make_stored

from aiocheckpoint import CheckpointError, FlowChangedError, ForeignFileError, adopt

if TYPE_CHECKING:
    from aiocheckpoint import CheckpointFlow

ALLOWED = [
    pytest.param(2, "a b c", "c", id="nothing changed"),
    pytest.param(2, "a b z", "z", id="rename the next"),
    pytest.param(1, "a y z", "y z", id="rename all the rest"),
    pytest.param(2, "a b", "", id="remove all the rest"),
    pytest.param(1, "a c", "c", id="remove the next"),
    pytest.param(1, "a b", "b", id="remove the last"),
    pytest.param(2, "a b c d", "c d", id="add at the end"),
    pytest.param(2, "a b x c", "x c", id="add before the next"),
    pytest.param(1, "a c b", "c b", id="reorder the rest"),
    pytest.param(0, "x y", "x y", id="anything when nothing is done"),
    pytest.param(0, "b a c", "b a c", id="reorder when nothing is done"),
]

REFUSED = [
    pytest.param(2, "z b c", id="rename a done one"),
    pytest.param(2, "a z c", id="rename the last done"),
    pytest.param(2, "b a c", id="reorder the done"),
    pytest.param(1, "b a c", id="move a done one on"),
    pytest.param(1, "x a b c", id="add at the beginning"),
    pytest.param(2, "a x b c", id="add between the done"),
    pytest.param(1, "b c", id="remove the first"),
    pytest.param(2, "a c", id="remove a done one"),
    pytest.param(2, "a", id="fewer steps than were done"),
    pytest.param(2, "A b c", id="another case"),
]


def prepare(flows: FlowFactory, position: int) -> None:
    """Store an unfinished run at a position, of steps a, b, c."""
    make_stored(flows, f"failed at {position}", {"who": "stored"})


def flow_of(flows: FlowFactory, names: str) -> CheckpointFlow:
    """Make a flow of the steps written in a line."""
    return flows.flow(*names.split())


@pytest.mark.parametrize(("position", "names", "runs"), ALLOWED)
def test_rest_may_change_at_will(
    position: int, names: str, runs: str, runner: Runner, flows: FlowFactory
) -> None:
    """With unchanged names before the position, the rest may change."""
    prepare(flows, position)
    result = runner(flow_of(flows, names))
    assert flows.ran() == runs.split()
    assert result["who"] == "stored"
    assert result.get("trail", []) == [*NAMES[:position], *runs.split()]
    assert (flows.header().status, flows.header().position) == ("finished", 0)


@pytest.mark.parametrize(("position", "names", "runs"), ALLOWED)
def test_stop_with_until_keeps_the_names_too(
    position: int, names: str, runs: str, runner: Runner, flows: FlowFactory
) -> None:
    """A stored stop resumes by the same rule as a stored failure. So does its plan."""
    make_stored(flows, f"stopped at {position}" if position else "failed at 0")
    plan = runner.allowed_plan(flow_of(flows, names))
    assert list(plan.steps[plan.start : plan.stop]) == runs.split()
    runner(flow_of(flows, names))
    assert flows.ran() == runs.split()


@pytest.mark.parametrize(("position", "names"), REFUSED)
def test_changed_beginning_is_refused(
    position: int, names: str, runner: Runner, flows: FlowFactory
) -> None:
    """A change before the position is an error that shows both lists and the remedies."""
    prepare(flows, position)
    before = flows.files()
    with pytest.raises(FlowChangedError) as info:
        runner(flow_of(flows, names), {"who": "given"})
    error, text = info.value, str(info.value)
    assert tuple(error.stored_steps) == NAMES
    assert tuple(error.current_steps) == tuple(names.split())
    assert error.position == position
    assert str(error.path) == str(flows.path)
    assert "checkpoint=" in text
    assert "reset" in text
    assert (flows.log, flows.files()) == ([], before)


def test_refusal_shows_both_lists(runner: Runner, flows: FlowFactory) -> None:
    """The error shows every stored and every current name, and the file."""
    make_stored(flows, "failed at 1", None, "fetch_it", "clean_it")
    with pytest.raises(FlowChangedError) as info:
        runner(flows.flow("get_it", "clean_up", "write_it"))
    shown = ("fetch_it", "clean_it", "get_it", "clean_up", "write_it", str(flows.path))
    assert [name for name in shown if name not in str(info.value)] == []


@pytest.mark.parametrize(("position", "names"), REFUSED)
def test_plan_refuses_too(position: int, names: str, runner: Runner, flows: FlowFactory) -> None:
    """`plan` of a changed flow raises the error that the run would raise."""
    prepare(flows, position)
    with pytest.raises(FlowChangedError, match="reset"):
        runner.allowed_plan(flow_of(flows, names))


def test_refusal_can_be_repeated(runner: Runner, flows: FlowFactory) -> None:
    """A refused run changes nothing. The unchanged flow still resumes."""
    prepare(flows, 2)
    with pytest.raises(FlowChangedError, match="reset"):
        runner(flows.flow("x", "y", "z"))
    assert runner(flows.flow())["who"] == "stored"
    assert flows.ran() == ["c"]


@pytest.mark.parametrize("checkpoint", [1, "c"])
def test_way_on_with_checkpoint(checkpoint: int | str, runner: Runner, flows: FlowFactory) -> None:
    """After a refusal, `checkpoint=` by index or name resumes with the stored state."""
    prepare(flows, 2)
    result = runner(flows.flow("x", "c", "d"), checkpoint=checkpoint)
    assert flows.ran() == ["c", "d"]
    assert result["who"] == "stored"
    assert flows.header().status == "finished"


def test_way_on_with_checkpoint_can_fail_and_resume(runner: Runner, flows: FlowFactory) -> None:
    """A run moved with `checkpoint=` stores the new names, and resumes by them."""
    prepare(flows, 2)
    flows.faults["step d"] = OSError("not yet")
    with pytest.raises(OSError, match="not yet"):
        runner(flows.flow("x", "c", "d"), checkpoint="c")
    flows.faults.clear()
    flows.log.clear()
    runner(flows.flow("x", "c", "d"))
    assert flows.ran() == ["d"]


def test_way_on_with_reset(runner: Runner, flows: FlowFactory) -> None:
    """After a refusal and `reset`, the changed flow runs from its beginning."""
    prepare(flows, 2)
    cp = flows.flow("x", "c", "d")
    runner.reset(cp)
    assert "who" not in runner(cp)
    assert flows.ran() == ["x", "c", "d"]


@pytest.mark.parametrize("names", ["x y", "b a c", "a", "a b c d"])
def test_finished_run_binds_nobody(names: str, runner: Runner, flows: FlowFactory) -> None:
    """After a finished run, any flow may start from the stored state."""
    make_stored(flows, "finished", {"who": "stored"})
    assert runner(flow_of(flows, names))["who"] == "stored"
    assert flows.ran() == names.split()


def test_same_name_with_another_body_is_the_same_step(runner: Runner, flows: FlowFactory) -> None:
    """A change in a step's code alone is no change. The names count."""
    prepare(flows, 1)
    flows.asynchronous = True
    runner(flows.flow())
    assert flows.ran() == ["b", "c"]


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("names", ["a b c", "x y z"])
def test_bare_file_resumes_by_index(
    names: str, position: int, runner: Runner, flows: FlowFactory
) -> None:
    """A snapshot without names (the seed's) resumes by index, whatever its steps are called."""
    dump_bare(flows.path, {"who": "seed", "checkpoint_index": position})
    result = runner(flow_of(flows, names))
    assert flows.ran() == names.split()[position:]
    assert result["who"] == "seed"
    assert flows.header().steps == tuple(names.split())


@pytest.mark.parametrize("extra", [None, len, lambda x: x + 1], ids=["plain", "builtin", "lambda"])
def test_bare_file_survives_a_failure(extra: object, runner: Runner, flows: FlowFactory) -> None:
    """A failure in a run resumed from a bare file is recorded beside the same state."""
    dump_bare(flows.path, {"who": "seed", "extra": extra, "checkpoint_index": 1})
    flows.faults["step b"] = OSError("not yet")
    with pytest.raises(OSError, match="not yet"):
        runner(flows.flow())
    flows.faults.clear()
    assert (flows.header().status, flows.header().position) == ("failed", 1)
    assert sorted(flows.stored()) == ["checkpoint_index", "extra", "who"]
    assert runner(flows.flow())["trail"] == ["b", "c"]


def test_bare_file_whose_steps_are_all_done_only_finishes(
    runner: Runner, flows: FlowFactory
) -> None:
    """A seed killed between its last two writes left index 3 of 3, and no step to run."""
    dump_bare(flows.path, {"who": "seed", "checkpoint_index": 3})
    assert "no step is left" in str(runner.allowed_plan(flows.flow()))
    assert runner(flows.flow()) == {"who": "seed"}
    assert flows.log == []
    assert (flows.header().status, flows.header().position) == ("finished", 0)


def test_bare_file_beyond_the_steps_is_refused(runner: Runner, flows: FlowFactory) -> None:
    """An index beyond the steps is an error of ours, and runs nothing."""
    dump_bare(flows.path, {"who": "seed", "checkpoint_index": 7})
    before = flows.files()
    with pytest.raises(CheckpointError, match="7"):
        runner(flows.flow())
    assert (flows.log, flows.files()) == ([], before)


def test_bare_file_without_index_is_adopted(runner: Runner, flows: FlowFactory) -> None:
    """A dict dumped by hand with dill is a stored state at step 0 once it is adopted."""
    dump_bare(flows.path, {"who": "hand"})
    with pytest.raises(ForeignFileError):
        runner(flows.flow())
    adopt(flows.path)
    assert runner(flows.flow())["who"] == "hand"
    assert flows.ran() == list(NAMES)
