"""Stopping after a step, and the choice of loaders."""

from __future__ import annotations

import pytest
from support import NAMES, FlowFactory, Runner, State, make_stored

from aiocheckpoint import CheckpointFlow, InvalidTypeError, InvalidValueError


@pytest.mark.parametrize("until", [0, "a", 1, "b"])
def test_until_stops_after_the_step(until: int | str, runner: Runner, flows: FlowFactory) -> None:
    """A run with `until` does that step as its last, and is stored as stopped there."""
    done = until + 1 if isinstance(until, int) else NAMES.index(until) + 1
    given: State = {"who": "given"}
    result = runner(flows.flow(), given, until=until)
    assert result is given
    assert flows.ran() == list(NAMES[:done])
    assert flows.ran("save") == list(NAMES[:done])
    assert (flows.header().status, flows.header().position) == ("stopped", done)
    assert flows.stored() == {**result, "checkpoint_index": done}


@pytest.mark.parametrize("until", [0, "a", 1, "b"])
def test_next_run_resumes_from_there(until: int | str, runner: Runner, flows: FlowFactory) -> None:
    """The run after a stop does the rest, with the stored state."""
    runner(flows.flow(), {"who": "given"}, until=until)
    result = runner(flows.flow(), {"who": "given"})
    assert flows.ran() == list(NAMES)
    assert result["who"] == "given"
    assert flows.header().status == "finished"


@pytest.mark.parametrize("until", [2, "c"])
def test_until_the_last_step_finishes(until: int | str, runner: Runner, flows: FlowFactory) -> None:
    """A stop after the last step finishes the run. The next run starts at the beginning."""
    runner(flows.flow(), until=until)
    assert (flows.header().status, flows.header().position) == ("finished", 0)
    runner(flows.flow(), until="a")
    assert flows.ran() == [*NAMES, "a"]


def test_run_can_go_step_by_step(runner: Runner, flows: FlowFactory) -> None:
    """A flow run one step at a time does each step once, in order."""
    for name in NAMES:
        runner(flows.flow(), until=name)
    assert flows.ran() == list(NAMES)
    assert flows.header().status == "finished"


def test_until_may_be_the_starting_step(runner: Runner, flows: FlowFactory) -> None:
    """With checkpoint and until on one step, exactly that step runs."""
    make_stored(flows, "failed at 2")
    runner(flows.flow(), checkpoint="b", until="b")
    assert flows.ran() == ["b"]
    assert flows.header().position == 2


@pytest.mark.parametrize("until", [0, "a"])
@pytest.mark.parametrize("checkpoint", [None, 1], ids=["stored start", "asked start"])
def test_until_before_the_start_is_refused(
    until: int | str, checkpoint: int | None, runner: Runner, flows: FlowFactory
) -> None:
    """An `until` before the start is a ValueError, and runs nothing."""
    make_stored(flows, "failed at 1")
    before = flows.files()
    with pytest.raises(InvalidValueError, match="until"):
        runner(flows.flow(), until=until, checkpoint=checkpoint)
    assert (flows.log, flows.files()) == ([], before)


@pytest.mark.parametrize("until", [99, 3, -1, "nope", ""])
def test_unknown_until_names_the_steps(
    until: int | str, runner: Runner, flows: FlowFactory
) -> None:
    """An `until` that does not exist is a ValueError that lists the steps."""
    names = ("fetch_it", "clean_it", "write_it")
    with pytest.raises(InvalidValueError) as info:
        runner(flows.flow(*names), until=until)
    assert all(name in str(info.value) for name in (*names, "until", str(until)))
    assert (flows.log, flows.files()) == ([], {})


def test_plan_with_until_is_what_happens(runner: Runner, flows: FlowFactory) -> None:
    """The plan's `stop` and its loads end where a run with `until` stops."""
    plan = runner.plan(flows.flow(), None, "always", until="b")
    runner(flows.flow(), None, "always", until="b")
    assert (plan.start, plan.stop, plan.loads) == (0, 2, (True, True, False))
    assert flows.plans() == [plan]
    assert flows.ran("load") == ["a", "b"]


POLICIES = [
    pytest.param("first only", (["a"], ["b"], ["c"]), id="first only"),
    pytest.param("always", (["a", "b", "c"], ["b", "c"], ["c"]), id="always"),
    pytest.param([True, True, True], (["a", "b", "c"], ["b", "c"], ["c"]), id="all"),
    pytest.param([False, False, False], ([], [], []), id="none"),
    pytest.param([False, True, False], (["b"], ["b"], []), id="middle"),
    pytest.param([True, False, True], (["a", "c"], ["c"], ["c"]), id="ends"),
]


@pytest.mark.parametrize(("policy", "by_start"), POLICIES)
@pytest.mark.parametrize("start", [0, 1, 2])
def test_policy_chooses_the_loaders(
    policy: object, by_start: tuple[list[str], ...], start: int, runner: Runner, flows: FlowFactory
) -> None:
    """Exactly the loaders of the policy run, each before its step."""
    expected = by_start[start]
    make_stored(flows, f"failed at {start}")
    runner(flows.flow(), load_policy=policy)
    assert flows.ran("load") == expected
    assert [flows.log.index(f"load {n}") + 1 for n in expected] == [
        flows.log.index(f"step {n}") for n in expected
    ]


def test_default_policy_is_first_only(runner: Runner, flows: FlowFactory) -> None:
    """Without a policy, the loader of the first executed step alone runs."""
    runner(flows.flow(), checkpoint="b")
    assert flows.ran("load") == ["b"]


@pytest.mark.parametrize("position", [0, 1])
def test_policy_is_the_second_positional_argument(
    position: int, runner: Runner, flows: FlowFactory
) -> None:
    """State, policy and checkpoint can be positional, as in the seed."""
    runner(flows.flow(), {}, "always", position)
    assert flows.ran("load") == list(NAMES[position:])


def test_loaded_data_is_merged_and_passed_on(flows: FlowFactory, runner: Runner) -> None:
    """A loader's dict is merged into the data of earlier steps. A new run starts without data."""
    seen: list[State] = []
    cp = CheckpointFlow(flows.path)

    def load_first(state: State) -> State:
        return {"kept": 1, "replaced": 1}

    def load_second(state: State) -> State:
        return {"replaced": 2}

    @cp.add_step(load=load_first)
    def first(state: State, data: State) -> None:
        seen.append(dict(data))
        data["made"] = 3

    @cp.add_step(load=load_second)
    def second(state: State, data: State) -> None:
        seen.append(dict(data))

    runner(cp, load_policy="always")
    assert seen == [{"kept": 1, "replaced": 1}, {"kept": 1, "replaced": 2, "made": 3}]
    runner(cp, load_policy=[False, False])
    assert seen[2:] == [{}, {"made": 3}]


def test_data_is_not_stored(runner: Runner, flows: FlowFactory) -> None:
    """`data` belongs to one run only. The snapshot holds the state alone."""
    make_stored(flows, "stopped at 2")
    assert "made" not in str(flows.stored())


BAD_TYPES = [5, {"a": True}, b"always", [1, 0, 1], ["yes", "no", "no"], [True, None, False]]


@pytest.mark.parametrize("policy", BAD_TYPES, ids=repr)
@pytest.mark.parametrize("stored", ["nothing", "failed at 1"])
def test_policy_of_another_type(
    policy: object, stored: str, runner: Runner, flows: FlowFactory
) -> None:
    """A policy that is neither a word nor a list of bools is a TypeError of ours."""
    make_stored(flows, stored)
    before = flows.files()
    with pytest.raises(InvalidTypeError, match="load_policy") as info:
        runner(flows.flow(), load_policy=policy)
    assert isinstance(info.value, TypeError)
    assert "first only" in str(info.value)
    assert (flows.log, flows.files()) == ([], before)


@pytest.mark.parametrize("policy", ["sometimes", "", [], [True], [True] * 4], ids=repr)
@pytest.mark.parametrize("stored", ["nothing", "failed at 1"])
def test_policy_of_another_value(
    policy: object, stored: str, runner: Runner, flows: FlowFactory
) -> None:
    """An unknown word or a wrong length is a ValueError of ours that names the valid ones."""
    make_stored(flows, stored)
    before = flows.files()
    with pytest.raises(InvalidValueError, match="load_policy") as info:
        runner(flows.flow(), load_policy=policy)
    assert isinstance(info.value, ValueError)
    assert ("3" if isinstance(policy, list) else "always") in str(info.value)
    assert (flows.log, flows.files()) == ([], before)
