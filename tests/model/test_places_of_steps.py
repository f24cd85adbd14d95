"""Steps are put before or behind others, taken out, and registered again after a mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow, FlowDefinitionError, InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from pathlib import Path

    from support import FlowFactory, Runner, State


def nothing(state: State) -> None:
    """Do nothing, as a step."""


@pytest.fixture
def cp(tmp_path: Path) -> CheckpointFlow:
    """Make a flow of the steps a, b and c."""
    made = CheckpointFlow(tmp_path / "a.pkl")
    for name in "abc":
        made.add_step(name=name)(nothing)
    return made


@pytest.mark.parametrize(
    ("place", "steps"),
    [
        ({"before": "a"}, "xabc"),
        ({"before": 0}, "xabc"),
        ({"before": "c"}, "abxc"),
        ({"after": "a"}, "axbc"),
        ({"after": 1}, "abxc"),
        ({"after": "c"}, "abcx"),
        ({}, "abcx"),
    ],
    ids=str,
)
@pytest.mark.parametrize("replace", [False, True])
def test_place(
    place: Any,  # noqa: ANN401
    steps: str,
    cp: CheckpointFlow,
    capsys: pytest.CaptureFixture[str],
    *,
    replace: bool,
) -> None:
    """A step stands before or behind the one named, and at the end by default."""
    cp.add_step(**place, replace=replace, name="x")(nothing)
    assert "".join(cp.plan().steps) == steps
    for name in steps:  # Every name is known at its place: it is taken, and can be replaced there.
        with pytest.raises(FlowDefinitionError):
            cp.add_step(name=name)(nothing)
        cp.add_step(name=name, replace=True)(nothing)
    assert "".join(cp.plan().steps) == steps
    assert capsys.readouterr() == ("", "")  # as in a script


@pytest.mark.parametrize(
    ("place", "steps"),
    [
        ({"before": "a"}, "cab"),
        ({"before": 1}, "acb"),
        ({"after": "a"}, "acb"),
        ({"after": "b"}, "abc"),
        ({}, "abc"),
    ],
    ids=str,
)
def test_replaced_step_moves(place: Any, steps: str, cp: CheckpointFlow) -> None:  # noqa: ANN401
    """A step that replaces another one goes where it says, however often that is done."""
    for _ in range(2):
        cp.add_step(**place, replace=True, name="c")(nothing)
        assert "".join(cp.plan().steps) == steps
    cp.remove_step("c")
    assert "".join(cp.plan().steps) == "ab"


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("step", ["d", "", 3, -1], ids=repr)
def test_unknown_place(place: str, step: Any, cp: CheckpointFlow) -> None:  # noqa: ANN401
    """A place that does not exist is an error that lists the steps, and nothing is registered."""
    with pytest.raises(InvalidValueError, match=rf"{place}={step!r}.*0: 'a', 1: 'b', 2: 'c'"):
        cp.add_step(**{place: step}, name="x")(nothing)
    assert "".join(cp.plan().steps) == "abc"


def test_place_beside_itself(cp: CheckpointFlow) -> None:
    """A step that is replaced is no place for its successor, and stays."""
    with pytest.raises(InvalidValueError, match="before='b'"):
        cp.add_step(before="b", replace=True, name="b")(nothing)
    assert "".join(cp.plan().steps) == "abc"


def test_place_of_another_type(cp: CheckpointFlow) -> None:
    """A place is an index or a name."""
    with pytest.raises(InvalidTypeError, match="after"):
        cp.add_step(after=1.5, name="x")(nothing)  # type: ignore[call-overload]


def test_both_places(cp: CheckpointFlow) -> None:
    """Two places are refused at once, with both named."""
    with pytest.raises(InvalidValueError, match="before='a' and after='b'"):
        cp.add_step(before="a", after="b")


def test_remove(cp: CheckpointFlow, runner: Runner) -> None:
    """A step that is taken out does not run, and its name is free."""
    cp.remove_step("b")
    assert cp.plan().steps == ("a", "c")
    cp.add_step(name="b")(nothing)
    assert cp.plan().steps == ("a", "c", "b")
    assert runner(cp, {}) == {}


def test_remove_unknown(cp: CheckpointFlow) -> None:
    """An unknown name is an error that lists the steps."""
    with pytest.raises(InvalidValueError, match=r"'d'.*0: 'a', 1: 'b', 2: 'c'"):
        cp.remove_step("d")
    with pytest.raises(InvalidTypeError, match="int"):
        cp.remove_step(1)  # type: ignore[arg-type]
    assert len(cp.plan().steps) == 3


def test_in_the_midst_of_a_run(tmp_path: Path) -> None:
    """A run keeps the steps that it began with."""
    ran: list[str] = []
    cp = CheckpointFlow(tmp_path / "a.pkl")

    @cp.add_step()
    def first(state: State) -> None:
        cp.remove_step("second")
        cp.add_step(before="first", name="zero")(lambda state: ran.append("zero"))

    cp.add_step(name="second")(lambda state: ran.append("second"))
    cp.run({})
    assert (ran, cp.plan().steps) == (["second"], ("zero", "first"))


def test_old_step_beside_a_checkpoint(flows: FlowFactory, runner: Runner) -> None:
    """A step put behind the broken one is run by the resumed run."""
    flows.faults["step b"] = OSError("broken")
    cp = flows.flow()
    with pytest.raises(OSError, match="broken"):
        runner(cp, {})
    flows.faults.clear()
    ran: list[str] = []
    cp.add_step(after="b", name="x")(lambda state: ran.append("x"))
    cp.remove_step("c")
    runner(cp)
    assert (flows.ran(), ran) == (["a", "b", "b"], ["x"])


def test_refused_function_is_no_forgotten_decorator(cp: CheckpointFlow, runner: Runner) -> None:
    """A refused step with a loader is mended by registering it again."""

    def generator(state: State) -> Any:  # noqa: ANN401
        yield

    with pytest.raises(FlowDefinitionError, match="generator"):
        cp.add_step(load=lambda state: {})(generator)
    with pytest.raises(FlowDefinitionError, match="'a' already"):
        cp.add_step(load=lambda state: {}, name="a")(nothing)
    cp.add_step(load=lambda state: {}, name="d")(nothing)
    assert runner(cp, {}) == {}


def test_forgotten_parentheses_are_mended(cp: CheckpointFlow, runner: Runner) -> None:
    """A step that was registered without parentheses is registered again, with them."""
    wrong: Any = cp.add_step
    wrong(nothing)
    with pytest.raises(FlowDefinitionError, match=r"'nothing'.*parentheses"):
        runner(cp, {})
    assert "parentheses" in str(runner.plan(cp))
    cp.add_step()(nothing)
    assert runner(cp, {}) == {}
    assert cp.plan().steps == ("a", "b", "c", "nothing")


def test_no_steps(tmp_path: Path, runner: Runner) -> None:
    """A flow without steps asks for the parentheses, and for the cells of a notebook."""
    for call in (runner, runner.allowed_plan):
        with pytest.raises(FlowDefinitionError, match=r"parentheses.*cells.*CheckpointFlow\(...\)"):
            call(CheckpointFlow(tmp_path / "a.pkl"))
