"""Any graph of objects comes back as dill brings it back, in types, values and identity."""

from __future__ import annotations

import collections
import functools
import io
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import dill  # type: ignore[import-untyped]
import sample_objects
from graphs import difference
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from strategies import ATOMS, HASHABLE
from streams import dump_whole, load_by_dill, load_whole

if TYPE_CHECKING:
    from collections.abc import Callable

Plan: TypeAlias = list[tuple[str, list[int], Any]]
QUIET = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])

KINDS: dict[str, Callable[[], Any]] = {
    "list": list,
    "dict": dict,
    "deque": collections.deque,
    "ordered dict": collections.OrderedDict,
    "default dict": lambda: collections.defaultdict(list),
    "own dict": sample_objects.OwnDict,
    "own list": sample_objects.OwnList,
    "own ordered dict": sample_objects.OwnOrdered,
    "node": sample_objects.Node,
    "slots": lambda: sample_objects.Slots(None),
    "slots and dict": lambda: sample_objects.SlotsAndDict(None, None),
    "slotted": lambda: sample_objects.Slotted(None),
    "with reduce": sample_objects.WithReduceEx,
    "error": lambda: sample_objects.OwnError("text"),
}
"""What can be made empty and filled later, so that it may hold itself."""

CLOSED = ("tuple", "named tuple", "own tuple", "partial", "with args", "registered")
"""What must be made of things that are there already."""

CODE = ("lambda", "local class", "local instance", "attributes of a function", "bound method")


@dataclass
class Builder:
    """Makes a graph out of a plan: kinds, the numbers of the things each holds, and atoms."""

    plan: Plan

    def build(self) -> list[Any]:
        """Make everything; the things that can be filled later may hold each other and themselves.

        A thing that must be made at once holds only what comes before it in the plan.
        """
        made: list[Any] = []
        for number, (kind, links, atom) in enumerate(self.plan):
            if kind in KINDS:
                made.append(KINDS[kind]())
            else:
                held = [made[link % number] for link in links] if number else []
                made.append(_make_closed(kind, held, atom))
        for (kind, links, atom), thing in zip(self.plan, made, strict=True):
            if kind in KINDS:
                _fill(thing, [made[link % len(made)] for link in links], atom)
        return made


def _make_closed(kind: str, held: list[Any], atom: object) -> Any:  # noqa: ANN401
    makers: dict[str, Callable[[], Any]] = {
        "tuple": lambda: (*held, atom),
        "named tuple": lambda: sample_objects.Pair(held, atom),
        "own tuple": lambda: sample_objects.OwnTuple([*held, atom]),
        "partial": lambda: functools.partial(dict, held, other=atom),
        "with args": lambda: sample_objects.WithReduce(*held, atom),
        "registered": lambda: sample_objects.Registered(held),
        "lambda": lambda: lambda more=atom: (held, more),
        "local class": lambda: type("Local", (sample_objects.Node,), {"held": held, "atom": atom}),
        "local instance": lambda: type("Local", (), {"f": lambda self: held})(),  # noqa: PLW0108
        "attributes of a function": lambda: _with_attribute(lambda: atom, held),
        "bound method": lambda: held.append if held else sample_objects.Outer().method,
    }
    return makers[kind]()


def _with_attribute(function: Any, held: object) -> Any:  # noqa: ANN401
    function.held = held
    return function


def _fill(thing: Any, held: list[Any], atom: object) -> None:  # noqa: ANN401
    if isinstance(thing, dict):
        for number, item in enumerate([*held, atom]):
            thing[f"key {number}"] = item
    elif isinstance(thing, sample_objects.WithReduceEx):
        thing.items = [*held, atom]
    elif isinstance(thing, (list, collections.deque)):
        thing.extend([*held, atom])
    elif isinstance(thing, sample_objects.Slots):
        thing.filled = [*held, atom]
    elif isinstance(thing, sample_objects.Slotted):
        thing.one, thing.other = held, atom
    elif isinstance(thing, sample_objects.Node):
        thing.name, thing.links = atom, held
    else:
        thing.held = [*held, atom]
    if hasattr(thing, "__dict__") and isinstance(thing, (dict, list)):
        thing.__dict__["first"] = held[0] if held else None


def plans(*kinds: str) -> st.SearchStrategy[Plan]:
    """Draw plans of graphs of these kinds."""
    links = st.lists(st.integers(0, 11), max_size=3)
    return st.lists(st.tuples(st.sampled_from(kinds), links, ATOMS), min_size=1, max_size=12)


@QUIET
@given(plans(*KINDS, *CLOSED))
@example([("dict", [0], 1)])
@example([("list", [1], 1), ("own dict", [0, 1], 2), ("tuple", [0, 0, 1], 3)])
def test_graphs_of_data(plan: Plan) -> None:
    """Any graph of data, cycles and shared references included, comes back as it was.

    It takes the way of the C pickler, and whatever can read pickles reads it.
    """
    state = {"all": Builder(plan).build()}
    try:
        theirs = load_by_dill(state)
    except Exception:  # noqa: BLE001 - a partial that holds itself, for one
        return
    dumped = dump_whole(state)
    loaded = load_whole(dumped.data)
    assert dumped.code is False
    assert difference(theirs, loaded) is None
    assert difference(state, loaded) is None
    assert difference(loaded, dill.loads(dumped.data)) is None
    if not dumped.by_dill:
        in_python: Any = pickle._Unpickler  # noqa: SLF001
        assert difference(loaded, pickle.loads(dumped.data)) is None
        assert difference(loaded, in_python(io.BytesIO(dumped.data)).load()) is None


@QUIET
@given(plans(*KINDS, *CLOSED, *CODE))
@example([("list", [1], 1), ("lambda", [0], 2)])
@example([("list", [1], 1), ("local class", [0], 2), ("bound method", [0, 1], 3)])
def test_graphs_with_code(plan: Plan) -> None:
    """Any graph with functions and classes by value comes back as with dill, or is refused alike.

    A list that plain data and a closure share is one list afterwards, too.
    """
    state = {"all": Builder(plan).build()}
    try:
        theirs = load_by_dill(state)
    except Exception:  # noqa: BLE001 - whatever dill cannot do, we need not
        return
    dumped = dump_whole(state)
    assert difference(theirs, load_whole(dumped.data)) is None
    kinds = {kind for kind, _, _ in plan}
    assert dumped.code is bool(kinds & {"lambda", "local class", "local instance"}) or (
        "attributes of a function" in kinds
    )


@QUIET
@given(st.recursive(ATOMS, lambda inner: st.lists(inner) | st.dictionaries(HASHABLE, inner)))
def test_trees(value: object) -> None:
    """Any nested lists and dicts, with keys of many kinds, are plain and come back."""
    state = {"v": value}
    dumped = dump_whole(state)
    loaded = load_whole(dumped.data)
    assert difference(load_by_dill(state), loaded) is None
    assert difference(state, loaded) is None
    if not dumped.by_dill:
        assert dumped.data == pickle.dumps(state, 5)
