"""Values that cannot be loaded: the error names their keys, and `read(partial=True)` the others."""

from __future__ import annotations

import asyncio
import sys
import types
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from by_value import make_closures
from graphs import difference

from aiocheckpoint import (
    CheckpointFlow,
    IncompatibleSnapshotError,
    InvalidValueError,
    LocalStateHandler,
    LostValuesWarning,
    UntrustedSnapshotError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support import FlowFactory, Runner, State

FAST: dict[str, Any] = {"fsync": False}
MODULE = "upgraded_module"
BEFORE = """
class Gone:
    def __init__(self, value=None):
        self.value = value

class Picky(Gone):
    pass

class Bag(dict):
    pass

class Row(list):
    pass

class Key(str):
    def __hash__(self):
        return hash(str(self))

def make(value):
    return Gone(value)

class Made:
    def __init__(self, value):
        self.value = value
    def __reduce__(self):
        return make, (self.value,)
"""
AFTER = """
class Picky:
    def __setstate__(self, state):
        raise ValueError(state)

class Bag(dict):
    def __setitem__(self, key, value):
        raise ValueError(value)

class Row(list):
    def append(self, value):
        raise ValueError(value)
    extend = append

class Key(str):
    def __hash__(self):
        raise ValueError(str(self))

def make(value):
    raise ValueError(value)
"""


@pytest.fixture
def upgrade() -> Iterator[Callable[[], None]]:
    """Make a module, and give the function that replaces it by a later version."""

    def install(code: str) -> None:
        module = types.ModuleType(MODULE)
        exec(code, vars(module))  # noqa: S102
        sys.modules[MODULE] = module

    install(BEFORE)
    yield lambda: install(AFTER)
    del sys.modules[MODULE]


def made(name: str, *args: object) -> Any:  # noqa: ANN401
    """Make an object of the module."""
    return getattr(sys.modules[MODULE], name)(*args)


class Set:
    """Has a function of its own that sets its state."""

    def __init__(self, held: object = None) -> None:
        self.held = held

    def __reduce__(self) -> Any:  # noqa: ANN401
        return Set, (), {"held": self.held}, None, None, set_state


def set_state(target: Set, state: State) -> None:
    """Set the state, while it is loaded."""
    target.held = state["held"]


def nested(value: object) -> State:
    """Put a value deep into other values."""
    return {"lists": [[1], [{"deep": (value, 2)}]], "n": 3}


def circle(value: object) -> object:
    """Make a list that holds itself, a value, and a dict that holds the list."""
    held: list[object] = []
    held += [{"back": held}, value, held]
    return held


LOST: dict[str, tuple[Callable[[], object], str]] = {
    "class gone": (lambda: made("Gone", 1), f'"{MODULE}:Gone" is not found: the module has'),
    "class itself": (lambda: sys.modules[MODULE].Gone, "is not found"),
    "nested": (lambda: nested(made("Gone")), "is not found"),
    "in a tuple": (lambda: (made("Gone"),), "is not found"),
    "in a frozenset": (lambda: frozenset({made("Gone")}), "is not found"),
    "as a key": (lambda: {made("Gone"): 1}, "is not found"),
    "circle": (lambda: circle(made("Gone")), "is not found"),
    "state refused": (lambda: made("Picky", "canary"), "raised ValueError (Picky)"),
    "items refused": (lambda: made("Bag", {"a": "canary"}), "raised ValueError (Bag)"),
    "append refused": (lambda: made("Row", ["canary"]), "raised ValueError (Row)"),
    "hash refused": (lambda: {made("Key", "canary"): 1}, "raised ValueError"),
    "set refused": (lambda: {made("Key", "canary")}, "raised ValueError"),
    "set by a function": (lambda: Set(made("Gone")), "is not found"),
    "call refused": (lambda: made("Made", "canary"), "raised ValueError (make)"),
}


@pytest.mark.parametrize("name", LOST)
@pytest.mark.parametrize("code", [False, True], ids=["plain", "by dill"])
def test_the_other_keys(
    name: str, *, code: bool, flows: FlowFactory, upgrade: Callable[[], None]
) -> None:
    """One value is lost, with all that holds it. All else is read, in its own shape."""
    shared = [1, {"two": (3.0, b"4")}]
    kept: State = {"first": shared, "again": [shared, {"set": {5, None}}], "": True}
    if code:
        kept["functions"] = make_closures()
    handler = LocalStateHandler(flows.path, **FAST)
    handler.write({"first": shared, "bad": LOST[name][0](), **kept, "checkpoint_index": 2})
    upgrade()
    with pytest.raises(IncompatibleSnapshotError) as info:
        handler.read()
    ((path, why),) = info.value.lost
    assert path == 'state["bad"]'
    assert LOST[name][1] in why
    with pytest.warns(LostValuesWarning) as caught:
        read = handler.read(partial=True)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert f"{path}: {why}" in str(caught[0].message)
    assert "canary" not in f"{info.value} {caught[0].message}"
    assert difference({**kept, "checkpoint_index": 2}, read) is None


def test_what_refers_to_a_lost_value(flows: FlowFactory, upgrade: Callable[[], None]) -> None:
    """Each key whose value holds the lost one is lost, however late the loss is known."""
    held = circle(made("Gone"))
    part: Any = held[0]  # type: ignore[index]
    handler = LocalStateHandler(flows.path, **FAST)
    handler.write({"circle": held, "part": part, "list": [part], "other": 1})
    upgrade()
    with pytest.warns(LostValuesWarning):
        assert handler.read(partial=True) == {"other": 1}


def test_what_a_function_put_in(flows: FlowFactory, upgrade: Callable[[], None]) -> None:
    """An object that a function filled is lost with what it was filled with, also later."""
    held: list[object] = []
    holder = Set(held)
    held += [holder, made("Gone")]
    handler = LocalStateHandler(flows.path, **FAST)
    handler.write({"list": held, "holder": holder, "other": 1})
    upgrade()
    with pytest.warns(LostValuesWarning):
        assert handler.read(partial=True) == {"other": 1}


def test_a_state_that_holds_itself(flows: FlowFactory, upgrade: Callable[[], None]) -> None:
    """A state that holds itself is read without the lost value."""
    state: State = {"bad": made("Gone"), "n": 1}
    state["own"] = state
    handler = LocalStateHandler(flows.path, **FAST)
    handler.write(state)
    upgrade()
    with pytest.warns(LostValuesWarning):
        read = handler.read(partial=True)
    assert read["n"] == 1
    assert "bad" not in read


def test_module_gone(flows: FlowFactory, upgrade: Callable[[], None]) -> None:
    """Of a module that is gone, the error names the module."""
    handler = LocalStateHandler(flows.path, **FAST)
    handler.write({"bad": made("Gone"), "n": 1})
    upgrade()
    module = sys.modules.pop(MODULE)
    try:
        with pytest.raises(IncompatibleSnapshotError, match=f"there is no module '{MODULE}'"):
            handler.read()
    finally:
        sys.modules[MODULE] = module


def test_what_loads_warns_of_nothing(flows: FlowFactory) -> None:
    """A state that loads is read as a whole, without a warning."""
    handler = LocalStateHandler(flows.path, **FAST)
    assert handler.read(partial=True) == {}
    handler.write({"n": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert handler.read(partial=True) == {"n": 1}


def test_by_every_way(runner: Runner, flows: FlowFactory, upgrade: Callable[[], None]) -> None:
    """A flow and its handler read partially. What was read can be stored, and the run resumed."""
    cp = flows.flow("a", "b", **FAST)
    runner(cp, {"bad": made("Gone"), "n": 1}, until="a")
    upgrade()

    async def read_within(source: Any) -> State:  # noqa: ANN401
        read: State = await source.aread(partial=True)
        return read

    reads: list[Callable[[], State]] = [
        lambda: cp.read(partial=True),
        lambda: asyncio.run(read_within(cp)),
        lambda: cp.handler.read(partial=True),
        lambda: asyncio.run(read_within(cp.handler)),
    ]
    for read in reads:
        with pytest.warns(LostValuesWarning) as caught:
            state = read()
        assert [one.filename for one in caught] == [__file__]
        assert (state["n"], state["trail"], state["checkpoint_index"]) == (1, ["a"], 1)
        assert "bad" not in state
    cp.handler.write(state)
    assert runner(cp)["trail"] == ["a", "b"]


def test_a_handler_of_dicts(tmp_path: Path) -> None:
    """A handler of a user's own has no partial reading."""

    class Own:
        def __init__(self, path: object) -> None:
            self.path = path

        def read(self) -> State:
            return {}

        def write(self, state: State) -> None:
            """Keep nothing."""

    cp = CheckpointFlow(tmp_path / "x", Own)
    with pytest.raises(InvalidValueError):
        cp.read(partial=True)


def test_under_a_list(flows: FlowFactory, upgrade: Callable[[], None]) -> None:
    """Under `allow=`, a listed name that is gone is lost, and one that is not listed is refused."""
    names = [f"{MODULE}:Gone"]
    handler = LocalStateHandler(flows.path, allow=names, **FAST)
    handler.write({"bad": made("Gone"), "n": [1]})
    upgrade()
    with pytest.raises(IncompatibleSnapshotError) as info:
        handler.read()
    assert [path for path, _ in info.value.lost] == ['state["bad"]']
    with pytest.warns(LostValuesWarning):
        assert handler.read(partial=True) == {"n": [1]}
    with pytest.raises(UntrustedSnapshotError):
        LocalStateHandler(flows.path, allow=(), **FAST).read(partial=True)
