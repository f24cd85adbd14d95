"""The first value of each type that a process stores is loaded back before it counts."""

from __future__ import annotations

import signal
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from support import FlowFactory, State, add_with

from aiocheckpoint import LocalStateHandler, UnserializableStateError
from aiocheckpoint._snapshot.pickling import new_types
from aiocheckpoint._snapshot.pickling.names import NO_MODULES
from aiocheckpoint._snapshot.pickling.new_types import find_unloadable
from aiocheckpoint._snapshot.pickling.serializer import dump
from aiocheckpoint._snapshot.target import MemoryTarget

if TYPE_CHECKING:
    from pathlib import Path

    from support import Runner

FAST: dict[str, Any] = {"fsync": False}


class Wrapper:
    """Forwards all attributes, and so calls itself for ever while it is loaded."""

    def __init__(self, inner: object) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self.inner, name)


def make_counting() -> Any:  # noqa: ANN401 - a class
    """Make a class that counts how often it is loaded, and that no test has stored yet."""

    class Counting:
        loads = 0

        def __init__(self, held: object = None) -> None:
            self.held = held

        def __reduce__(self) -> Any:  # noqa: ANN401
            return load_counting, (type(self).__qualname__, self.held)

    Counting.__qualname__ = f"counting{len(MADE)}"
    MADE[Counting.__qualname__] = Counting
    return Counting


MADE: dict[str, Any] = {}


def load_counting(name: str, held: object) -> object:
    """Load an instance, and count it."""
    MADE[name].loads += 1
    return MADE[name](held)


@pytest.mark.parametrize("options", [{}, {"allow": [f"{__name__}:Wrapper"]}], ids=str)
def test_a_forwarding_wrapper(options: dict[str, Any], runner: Runner, flows: FlowFactory) -> None:
    """A wrapper that would not load is refused where it is stored. The error names its path."""
    cp = flows.flow("a", **FAST, **options)

    def wrap(state: State) -> None:
        state.update(fine=[1], deep=[{"x": Wrapper([1])}])

    add_with(cp, "b", "step", wrap)
    for _ in range(2):  # A refused type stays new.
        with pytest.raises(UnserializableStateError) as info:
            runner(cp, {"n": 1})
        assert info.value.step == "b"
        assert info.value.offenders == (
            ('state["deep"][0]["x"]', "Wrapper: it would not load again (RecursionError)"),
        )
        assert LocalStateHandler(flows.path, **options).read()["trail"] == ["a"]


def test_once_for_each_type(runner: Runner, flows: FlowFactory) -> None:
    """A type is loaded back once in a process, whatever number of values and steps has it."""
    counting = make_counting()
    runner(flows.flow("a", "b", "c", **FAST), {"x": [counting() for _ in range(9)]})
    assert counting.loads == 1
    runner(flows.flow("a", "b", **FAST), {"y": counting([counting()])})
    assert counting.loads == 1


def test_one_load_for_a_value_of_many_types(flows: FlowFactory) -> None:
    """The types inside a value that was loaded back are known as well."""
    outer, inner = make_counting(), make_counting()
    LocalStateHandler(flows.path, **FAST).write({"x": outer(inner())})
    assert (outer.loads, inner.loads) == (1, 1)


def test_large_values_are_not_loaded_back(flows: FlowFactory) -> None:
    """A value of more than 16 MiB is not loaded back. The next smaller one of its type is."""
    counting = make_counting()
    handler = LocalStateHandler(flows.path, **FAST)
    handler.write({"x": counting(bytes(17 << 20))})
    assert counting.loads == 0
    handler.write({"x": counting(bytes(15 << 20))})
    assert counting.loads == 1


def test_one_large_value_is_tried_once(flows: FlowFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large value that stays in the state is not dumped a second time with each snapshot."""
    dumps = list[object]()

    def noted(value: object, *args: Any, **options: Any) -> bool:  # noqa: ANN401
        dumps.append(value)
        return dump(value, *args, **options)

    monkeypatch.setattr(new_types, "dump", noted)
    held, handler = make_counting()(bytes(17 << 20)), LocalStateHandler(flows.path, **FAST)
    for _ in range(3):
        handler.write({"x": held})
    assert dumps == [held]


def test_known_under_each_list(flows: FlowFactory) -> None:
    """A type that loaded without a list is loaded back under `allow=` as well."""
    counting = make_counting()
    listed: dict[str, Any] = {"allow": [f"{__name__}:load_counting"]}
    for options in ({}, listed):
        LocalStateHandler(flows.path, **options, **FAST).write({"x": counting()})
    assert counting.loads == 2


class Same(type):
    """Makes classes that equal each other."""

    def __eq__(cls, other: object) -> bool:
        return isinstance(other, Same)

    def __hash__(cls) -> int:
        return 1


class Loading(metaclass=Same):
    """Is stored first."""


class Refusing(metaclass=Same):
    """Equals the class above, and does not load."""

    def __init__(self) -> None:
        self.x = 1

    def __setstate__(self, state: State) -> None:
        raise ValueError


def test_types_that_equal_each_other(flows: FlowFactory) -> None:
    """A type is known by itself, and not by one that equals it."""
    handler = LocalStateHandler(flows.path, **FAST)
    handler.write({"x": Loading()})
    with pytest.raises(UnserializableStateError, match="Refusing: it would not load again"):
        handler.write({"x": Refusing()})


class Owner:
    """Owns a directory, and deletes it at its end."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path

    def __del__(self) -> None:
        self.path.rmdir()


class Keeper:
    """Holds another value."""

    def __init__(self, held: object) -> None:
        self.held = held


class SubOwner(Owner):
    """Inherits the end."""


@pytest.mark.parametrize("kind", [Owner, SubOwner])
def test_owners_of_resources(kind: type[Owner], tmp_path: Path, flows: FlowFactory) -> None:
    """No copy is made of an object with `__del__`, nor of one that holds it."""
    owner = kind(tmp_path / "owned")
    LocalStateHandler(flows.path, **FAST).write({"x": [owner], "y": Keeper(owner)})
    assert (tmp_path / "owned").is_dir()


class Exiting:
    """Ends the program while it is loaded."""

    def __init__(self) -> None:
        self.x = 1

    def __setstate__(self, state: State) -> None:
        sys.exit("loaded")


def test_exit_while_loaded(flows: FlowFactory, runner: Runner) -> None:
    """A SystemExit of a value's own code is a refusal that names the value."""
    cp = flows.flow("a", **FAST)
    with pytest.raises(UnserializableStateError, match=r'state\["x"\].*\(SystemExit\)'):
        runner(cp, {"x": Exiting()})


class Once:
    """Meets a signal while it is loaded for the first time."""

    loads = 0

    def __init__(self) -> None:
        self.x = 1

    def __setstate__(self, state: State) -> None:
        Once.loads += 1
        if Once.loads == 1:
            signal.raise_signal(signal.SIGTERM)


def test_exit_by_a_signal(flows: FlowFactory) -> None:
    """A SystemExit that a signal raised meanwhile is not swallowed."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("signal"))
    try:
        with pytest.raises(SystemExit, match="signal"):
            LocalStateHandler(flows.path, **FAST).write({"x": Once()})
    finally:
        signal.signal(signal.SIGTERM, before)


def test_plain_values_are_not_loaded_back() -> None:
    """Plain values, functions and classes by name make no type that is loaded back."""
    met = dict[type, object]()
    dump(
        {"a": [1, "b", (2.0, {3})], "f": textwrap.dedent, "c": Wrapper, "n": None},
        MemoryTarget(),
        met=met,
    )
    assert met == {}


class Member:
    """Belongs to a group that finds its members by their names."""

    def __init__(self, name: str, group: Group) -> None:
        self.group, self.name = group, name
        group.members.add(self)

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Member) and other.name == self.name


class Group:
    """Holds members."""

    def __init__(self) -> None:
        self.members: set[Member] = set()


def test_part_of_a_circle(flows: FlowFactory) -> None:
    """A value that loads within the state, but not alone, is stored."""
    group = Group()
    member = Member("a", group)
    state = {"members": group.members, "group": group}
    memory, met = MemoryTarget(), dict[type, object]()
    dump(member, memory, met=met)
    assert find_unloadable(state, {Member: member}, None, NO_MODULES) == ()
    handler = LocalStateHandler(flows.path, **FAST)
    handler.write(state)
    assert {one.name for one in handler.read()["group"].members} == {"a"}


def test_an_interrupt_is_no_refusal(flows: FlowFactory) -> None:
    """A KeyboardInterrupt in the midst of loading back comes out as it is. Nothing is stored."""
    handler = LocalStateHandler(flows.path, **FAST)
    with pytest.raises(KeyboardInterrupt):
        handler.write({"x": Interrupting()})
    assert flows.files() == {}


class Interrupting:
    """Is loaded while the user presses Ctrl-C."""

    def __setstate__(self, state: State) -> None:
        raise KeyboardInterrupt

    def __getstate__(self) -> State:
        return {"a": 1}
