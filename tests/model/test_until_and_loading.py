"""Stopping after a step, and which loaders run."""

from __future__ import annotations

import pytest
from support import NAMES, Door, Lab, State, make_stored

from aiocheckpoint import CheckpointFlow, InvalidTypeError, InvalidValueError


@pytest.mark.parametrize("until", [0, "a", 1, "b"])
def test_until_stops_after_the_step(until: int | str, door: Door, lab: Lab) -> None:
    """A run with `until` does that step as its last and is stored as stopped there."""
    done = until + 1 if isinstance(until, int) else NAMES.index(until) + 1
    given: State = {"who": "given"}
    result = door(lab.flow(), given, until=until)
    assert result is given
    assert lab.ran() == list(NAMES[:done])
    assert lab.ran("save") == list(NAMES[:done])
    assert (lab.header().status, lab.header().position) == ("stopped", done)
    assert lab.stored() == {**result, "checkpoint_index": done}


@pytest.mark.parametrize("until", [0, "a", 1, "b"])
def test_next_run_goes_on_from_there(until: int | str, door: Door, lab: Lab) -> None:
    """The run after a stop does the rest, with the stored state."""
    door(lab.flow(), {"who": "given"}, until=until)
    result = door(lab.flow(), {"who": "ignored"})
    assert lab.ran() == list(NAMES)
    assert result["who"] == "given"
    assert lab.header().status == "finished"


@pytest.mark.parametrize("until", [2, "c"])
def test_until_the_last_step_finishes(until: int | str, door: Door, lab: Lab) -> None:
    """Stopping after the last step is finishing: the next run starts at the beginning."""
    door(lab.flow(), until=until)
    assert (lab.header().status, lab.header().position) == ("finished", 0)
    door(lab.flow(), until="a")
    assert lab.ran() == [*NAMES, "a"]


def test_run_can_go_step_by_step(door: Door, lab: Lab) -> None:
    """A flow taken one step at a time does each step once, in order."""
    for name in NAMES:
        door(lab.flow(), until=name)
    assert lab.ran() == list(NAMES)
    assert lab.header().status == "finished"


def test_until_may_be_the_starting_step(door: Door, lab: Lab) -> None:
    """With checkpoint and until on one step, exactly that step runs."""
    make_stored(lab, "failed at 2")
    door(lab.flow(), checkpoint="b", until="b")
    assert lab.ran() == ["b"]
    assert lab.header().position == 2


@pytest.mark.parametrize("until", [0, "a"])
@pytest.mark.parametrize("checkpoint", [None, 1], ids=["stored start", "asked start"])
def test_until_before_the_start_is_refused(
    until: int | str, checkpoint: int | None, door: Door, lab: Lab
) -> None:
    """A run that would stop before it starts is a ValueError, and runs nothing."""
    make_stored(lab, "failed at 1")
    before = lab.files()
    with pytest.raises(InvalidValueError, match="until"):
        door(lab.flow(), until=until, checkpoint=checkpoint)
    assert (lab.log, lab.files()) == ([], before)


@pytest.mark.parametrize("until", [99, 3, -1, "nope", ""])
def test_unknown_until_names_the_steps(until: int | str, door: Door, lab: Lab) -> None:
    """An until that does not exist is a ValueError that lists the steps that do."""
    names = ("fetch_it", "clean_it", "write_it")
    with pytest.raises(InvalidValueError) as info:
        door(lab.flow(*names), until=until)
    assert all(name in str(info.value) for name in (*names, "until", str(until)))
    assert (lab.log, lab.files()) == ([], {})


def test_plan_with_until_is_what_happens(door: Door, lab: Lab) -> None:
    """The plan's `stop` is where a run with `until` stops, and its loads end there too."""
    plan = door.plan(lab.flow(), None, "always", until="b")
    door(lab.flow(), None, "always", until="b")
    assert (plan.start, plan.stop, plan.loads) == (0, 2, (True, True, False))
    assert lab.plans() == [plan]
    assert lab.ran("load") == ["a", "b"]


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
    policy: object, by_start: tuple[list[str], ...], start: int, door: Door, lab: Lab
) -> None:
    """Exactly the loaders of the policy run, each before its step."""
    expected = by_start[start]
    make_stored(lab, f"failed at {start}")
    door(lab.flow(), load_policy=policy)
    assert lab.ran("load") == expected
    assert [lab.log.index(f"load {n}") + 1 for n in expected] == [
        lab.log.index(f"step {n}") for n in expected
    ]


def test_default_policy_is_first_only(door: Door, lab: Lab) -> None:
    """Without a policy, the loader of the first executed step alone runs."""
    door(lab.flow(), checkpoint="b")
    assert lab.ran("load") == ["b"]


@pytest.mark.parametrize("position", [0, 1])
def test_policy_is_the_second_positional_argument(position: int, door: Door, lab: Lab) -> None:
    """State, policy and checkpoint can be given by position, as in the seed."""
    door(lab.flow(), {}, "always", position)
    assert lab.ran("load") == list(NAMES[position:])


def test_loaded_data_is_merged_and_passed_on(lab: Lab, door: Door) -> None:
    """A loader's dict joins what earlier steps left in data; a new run starts with none."""
    seen: list[State] = []
    cp = CheckpointFlow(lab.path)

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

    door(cp, load_policy="always")
    assert seen == [{"kept": 1, "replaced": 1}, {"kept": 1, "replaced": 2, "made": 3}]
    door(cp, load_policy=[False, False])
    assert seen[2:] == [{}, {"made": 3}]


def test_data_is_not_stored(door: Door, lab: Lab) -> None:
    """What stands in data is for this run only: the snapshot holds the state alone."""
    make_stored(lab, "stopped at 2")
    assert "made" not in str(lab.stored())


BAD_TYPES = [None, 5, {"a": True}, b"always", [1, 0, 1], ["yes", "no", "no"], [True, None, False]]


@pytest.mark.parametrize("policy", BAD_TYPES, ids=repr)
@pytest.mark.parametrize("stored", ["nothing", "failed at 1"])
def test_policy_of_another_type(policy: object, stored: str, door: Door, lab: Lab) -> None:
    """A policy that is neither a word nor a list of bools is a TypeError of ours."""
    make_stored(lab, stored)
    before = lab.files()
    with pytest.raises(InvalidTypeError, match="load_policy") as info:
        door(lab.flow(), load_policy=policy)
    assert isinstance(info.value, TypeError)
    assert "first only" in str(info.value)
    assert (lab.log, lab.files()) == ([], before)


@pytest.mark.parametrize("policy", ["sometimes", "", [], [True], [True] * 4], ids=repr)
@pytest.mark.parametrize("stored", ["nothing", "failed at 1"])
def test_policy_of_another_value(policy: object, stored: str, door: Door, lab: Lab) -> None:
    """An unknown word or a wrong length is a ValueError of ours that says what is right."""
    make_stored(lab, stored)
    before = lab.files()
    with pytest.raises(InvalidValueError, match="load_policy") as info:
        door(lab.flow(), load_policy=policy)
    assert isinstance(info.value, ValueError)
    assert ("3" if isinstance(policy, list) else "always") in str(info.value)
    assert (lab.log, lab.files()) == ([], before)
