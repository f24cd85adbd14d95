"""Parameters in another order, and methods without an object, are refused when registered."""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow, FlowDefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Runner, State


class Pipeline:
    """A class with methods for steps."""

    def fetch(self, state: State) -> None:
        """Note that it ran."""
        state["fetched"] = type(self) is Pipeline

    def swapped(self, data: State, state: State) -> None:
        """Take the arguments in another order."""

    def __call__(self, state: State, data: State) -> None:
        """Note that it ran."""
        state["called"] = data == {}


def swapped(data: State, state: State) -> None:
    """Take the arguments in another order."""


async def data_alone(data: State) -> None:
    """Take the state under the name of data."""


def other_then_state(rows: State, state: State) -> None:
    """Take the state second."""


def optional_state(rows: State, state: State | None = None) -> None:
    """Take the state second, which no flow would pass."""


@wraps(swapped)
def decorated(*args: Any) -> None:  # noqa: ANN401
    """Be a decorator's wrapper."""


def with_factor(factor: int, data: State, state: State) -> None:
    """Take the arguments in another order, behind one that is given."""


SWAPPED = [
    swapped,
    data_alone,
    other_then_state,
    optional_state,
    decorated,
    Pipeline().swapped,
    partial(with_factor, 2),
    lambda data, state: None,
]


@pytest.mark.parametrize("part", ["step", "save"])
@pytest.mark.parametrize("function", SWAPPED, ids=range(len(SWAPPED)))
def test_order(function: Callable[..., Any], part: str, tmp_path: Path) -> None:
    """The error names the function, its parameters and the order that they should have."""
    cp = CheckpointFlow(tmp_path / "a.pkl")
    name = "the saver" if part == "save" else "the step"
    with pytest.raises(FlowDefinitionError, match=rf"{name} .*\(state, data\) or \(state\)"):
        add(cp, part, function)
    assert cp.plan().steps == ()


@pytest.mark.parametrize("part", ["step", "save", "load"])
def test_method_in_the_body_of_a_class(part: str, tmp_path: Path) -> None:
    """A function whose first parameter is `self` is refused with the way to register a method."""
    cp = CheckpointFlow(tmp_path / "a.pkl")
    with pytest.raises(FlowDefinitionError, match=r"object\.fetch") as info:
        add(cp, part, Pipeline.fetch)
    assert info.value.step == "fetch"
    assert "(self, state" in str(info.value)


def test_loader_of_data(tmp_path: Path) -> None:
    """A loader gets the state, and may not call it data."""
    with pytest.raises(FlowDefinitionError, match="loader"):
        add(CheckpointFlow(tmp_path / "a.pkl"), "load", lambda data: {})


def test_right_ones(runner: Runner, tmp_path: Path) -> None:
    """Bound methods, callable objects, classes and any other names are taken."""
    cp = CheckpointFlow(tmp_path / "a.pkl")
    cp.add_step()(Pipeline().fetch)
    cp.add_step(name="call")(Pipeline())
    cp.add_step(name="partial")(partial(Pipeline.fetch, Pipeline()))
    cp.add_step(name="keywords")(lambda s, *, data=None, state=None: None)
    cp.add_step(name="starred")(lambda *data: None)
    cp.add_step(name="dicts")(lambda s, d: d.update(self=1))
    assert runner(cp, {}) == {"fetched": True, "called": True}


def add(cp: CheckpointFlow, part: str, function: Callable[..., Any]) -> None:
    """Register a function as a part of a step."""
    if part == "step":
        cp.add_step()(function)
    else:
        cp.add_step(**{part: function})(lambda state: None)  # type: ignore[call-overload]
