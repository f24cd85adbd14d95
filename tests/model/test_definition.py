"""Defining steps: valid functions, their names, and errors at the definition."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
from support import FlowFactory, Runner, State, make_stored

from aiocheckpoint import CheckpointError, CheckpointFlow, FlowDefinitionError, InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


def good(state: State, data: State) -> None:
    """Accept state and data, as a step should."""


def no_argument() -> None:
    """Accept no argument."""


def three_arguments(state: State, data: State, more: int) -> None:
    """Accept one argument too many."""


def needs_keyword(state: State, data: State, *, more: int) -> None:
    """Require a keyword that no flow passes."""


def generator(state: State, data: State) -> Iterator[int]:
    """Yield, and so do nothing when called."""
    yield 1


async def async_generator(state: State, data: State) -> AsyncIterator[int]:
    """Yield, and so do nothing when called."""
    yield 1


class GeneratorObject:
    """A callable object whose call is a generator."""

    def __call__(self, state: State, data: State) -> Iterator[int]:
        """Yield, and so do nothing when called."""
        yield 1


BAD_STEPS = [
    pytest.param(5, "int", id="number"),
    pytest.param("good", "str", id="string"),
    pytest.param(None, "None", id="none"),
    pytest.param([good], "list", id="list"),
    pytest.param(no_argument, "no_argument", id="no argument"),
    pytest.param(three_arguments, "three_arguments", id="three arguments"),
    pytest.param(needs_keyword, "needs_keyword", id="keyword needed"),
    pytest.param(generator, "generator", id="generator"),
    pytest.param(async_generator, "async_generator", id="async generator"),
    pytest.param(functools.partial(generator), "generator", id="partial of a generator"),
    pytest.param(functools.partial(three_arguments), "three_arguments", id="partial of three"),
    pytest.param(GeneratorObject(), "GeneratorObject", id="object with a generator"),
]


@pytest.mark.parametrize(("step", "named"), BAD_STEPS)
def test_bad_step_is_refused_when_defined(step: Any, named: str, flows: FlowFactory) -> None:  # noqa: ANN401
    """A step that does not accept state and data is an error of ours that names it."""
    make_stored(flows, "failed at 1")
    before = flows.files()
    cp = flows.flow()
    with pytest.raises(FlowDefinitionError, match=r"add_step|state|yield") as info:
        cp.add_step()(step)
    assert named in str(info.value)
    assert flows.files() == before
    assert cp.plan().steps == ("a", "b", "c")


@pytest.mark.parametrize("part", ["load", "save"])
@pytest.mark.parametrize(
    "function",
    [5, "text", no_argument, three_arguments, generator, async_generator],
    ids=["number", "string", "no argument", "three arguments", "generator", "async generator"],
)
def test_bad_loader_or_saver_is_refused(part: str, function: Any, flows: FlowFactory) -> None:  # noqa: ANN401
    """A loader or saver with wrong parameters is refused. The error says which it is."""
    cp = flows.flow()
    with pytest.raises(FlowDefinitionError) as info:
        cp.add_step(**{part: function})(good)
    assert part in str(info.value)
    assert getattr(function, "__name__", type(function).__name__) in str(info.value)


def test_loader_of_two_arguments_is_refused(flows: FlowFactory) -> None:
    """A loader gets the state alone."""
    cp = flows.flow()
    wrong: Any = good
    with pytest.raises(FlowDefinitionError, match="good"):
        cp.add_step(load=wrong)(good)


def with_default(state: State, data: State, more: int = 1) -> None:
    """Accept more than two arguments, but require only two."""
    state["more"] = more


def with_optional_data(state: State, data: State | None = None) -> None:
    """Accept data as an option."""
    state["more"] = data is not None


def with_stars(*arguments: State, **options: object) -> None:
    """Accept any arguments."""
    arguments[0]["more"] = len(arguments)


def other_names(s: State, /, d: State) -> None:
    """Name the arguments differently."""
    s["more"] = d == {}


@pytest.mark.parametrize(
    ("step", "more"),
    [(with_default, 1), (with_optional_data, True), (with_stars, 2), (other_names, True)],
    ids=["default", "optional data", "stars", "other names"],
)
def test_step_may_take_more_than_it_needs(
    step: Callable[..., None], more: object, runner: Runner, flows: FlowFactory
) -> None:
    """A step that can be called with state and data gets both."""
    cp = CheckpointFlow(flows.path)
    cp.add_step()(step)
    assert runner(cp)["more"] == more


def test_add_step_returns_the_function_itself(flows: FlowFactory) -> None:
    """The decorator returns the very function, so that it can be called and tested."""
    cp = CheckpointFlow(flows.path)
    assert cp.add_step()(good) is good
    assert cp.add_step(name="object", thread=False)(good) is good


def test_name_is_the_functions_or_the_given(flows: FlowFactory) -> None:
    """A step has the name of its function, through partials too, or that of `name=`."""
    cp = CheckpointFlow(flows.path)
    cp.add_step()(good)
    cp.add_step(name="another")(good)
    cp.add_step()(functools.partial(with_default, more=2))
    assert cp.plan().steps == ("good", "another", "with_default")


def test_two_steps_of_one_name_are_refused(flows: FlowFactory) -> None:
    """A name is used once. The error offers `name=` and `replace=True`."""
    cp = CheckpointFlow(flows.path)
    cp.add_step()(good)
    with pytest.raises(FlowDefinitionError, match="good") as info:
        cp.add_step()(good)
    assert "name=" in str(info.value)
    assert "replace=True" in str(info.value)
    assert cp.plan().steps == ("good",)


def test_given_name_may_not_be_taken_either(flows: FlowFactory) -> None:
    """A name given with `name=` is as taken as a function's own."""
    cp = CheckpointFlow(flows.path)
    cp.add_step(name="good")(with_default)
    with pytest.raises(FlowDefinitionError, match="good"):
        cp.add_step()(good)


def test_replace_keeps_the_position(runner: Runner, flows: FlowFactory) -> None:
    """A cell run again with `replace=True` changes the step, and keeps the order."""
    cp = flows.flow()
    seen: list[str] = []

    @cp.add_step(name="b", replace=True)
    def mended(state: State) -> None:
        seen.append("mended")

    runner(cp)
    assert cp.plan().steps == ("a", "b", "c")
    assert (flows.ran(), seen) == (["a", "c"], ["mended"])
    assert flows.ran("save") == ["a", "c"]


def test_replace_of_nothing_adds(flows: FlowFactory) -> None:
    """A cell with `replace=True` works the first time too."""
    cp = CheckpointFlow(flows.path)
    cp.add_step(replace=True)(good)
    assert cp.plan().steps == ("good",)


def test_broken_step_is_mended_in_a_living_flow(runner: Runner, flows: FlowFactory) -> None:
    """In a notebook: run, see it fail, replace the step, run again, and the run resumes."""
    flows.faults["step b"] = OSError("broken")
    cp = flows.flow()
    with pytest.raises(OSError, match="broken"):
        runner(cp, {"who": "given"})
    flows.faults.clear()
    flows.add(cp, "b", replace=True)
    assert runner(cp)["trail"] == ["a", "b", "c"]
    assert flows.ran() == ["a", "b", "b", "c"]


def test_flow_without_steps_asks_for_the_parentheses(runner: Runner, flows: FlowFactory) -> None:
    """Running a flow without steps is an error that asks about `@cp.add_step()`."""
    cp = CheckpointFlow(flows.path)
    with pytest.raises(FlowDefinitionError, match="parentheses") as info:
        runner(cp, {"a": 1})
    assert "add_step()" in str(info.value)
    assert flows.files() == {}


def test_plan_without_steps_asks_for_the_parentheses(runner: Runner, flows: FlowFactory) -> None:
    """Planning a flow without steps is the same error."""
    with pytest.raises(FlowDefinitionError, match="parentheses"):
        runner.allowed_plan(CheckpointFlow(flows.path))


def one_argument(state: State) -> None:
    """Accept one argument only, like a loader."""


@pytest.mark.parametrize("step", [good, one_argument], ids=["two arguments", "one argument"])
def test_forgotten_parentheses_are_found(
    step: Callable[..., None], runner: Runner, flows: FlowFactory
) -> None:
    """`@cp.add_step` without parentheses is an error at the definition or at the run."""
    cp: Any = CheckpointFlow(flows.path)

    def define_and_run() -> None:
        cp.add_step(step)
        runner(cp)

    with pytest.raises(FlowDefinitionError, match="parentheses"):
        define_and_run()


@pytest.mark.parametrize("name", [5, b"a", ["a"]], ids=["number", "bytes", "list"])
def test_name_that_is_no_string_is_refused(name: Any, flows: FlowFactory) -> None:  # noqa: ANN401
    """A name that is no string is refused."""
    cp = CheckpointFlow(flows.path)
    with pytest.raises(CheckpointError, match="name"):
        cp.add_step(name=name)(good)


@pytest.mark.parametrize(
    ("option", "value"),
    [("name", 5), ("name", ""), ("hooks", [5]), ("hooks", ["print"]), ("hooks", 5)],
)
def test_bad_option_of_a_flow_is_refused(option: str, value: Any, flows: FlowFactory) -> None:  # noqa: ANN401
    """A flow's name must be text, and its hooks callable. Otherwise the error says so."""
    with pytest.raises(InvalidTypeError, match=option.removesuffix("s")):
        CheckpointFlow(flows.path, **{option: value})


def test_lambdas_need_names_of_their_own(flows: FlowFactory) -> None:
    """Two lambdas have the same name, unless they are given names."""
    cp = CheckpointFlow(flows.path)
    cp.add_step(name="first")(lambda state: None)
    cp.add_step(name="second")(lambda state: None)
    assert cp.plan().steps == ("first", "second")


def test_steps_of_one_flow_do_not_show_in_another(flows: FlowFactory) -> None:
    """Two flows share no steps."""
    assert flows.flow("a").plan().steps == ("a",)
    assert flows.flow("b").plan().steps == ("b",)


@pytest.mark.parametrize("name", ["\ud800", "a\0b", "x" * 1001, "\ud83d\ude00"], ids=ascii)
def test_names_that_no_store_holds(name: str, flows: FlowFactory) -> None:
    """A step's name with a NUL or a lone surrogate, or a very long one, is refused at once."""
    cp = flows.flow("a")
    with pytest.raises(FlowDefinitionError, match="name of a step"):
        cp.add_step(name=name)(lambda state: None)

    def function(state: dict[str, object]) -> None:
        """Do nothing, as a step."""

    function.__name__ = name
    with pytest.raises(FlowDefinitionError, match="name of a step"):
        cp.add_step()(function)
    assert cp.run()["trail"] == ["a"]
