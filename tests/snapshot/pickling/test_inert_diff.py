"""Two states are compared by key and path, without executing anything."""

from __future__ import annotations

import datetime as dt
import pickle
from typing import Any

import dill  # type: ignore[import-untyped]
import hostile_pickles as hostile
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inert_trees import PATIENT, decoded, is_same, stream_of
from known_objects import Basket, Colour, Order

from aiocheckpoint._snapshot.pickling.inert import MISSING, Change, Differences, diff_trees

QUIET = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])


def compared(old: dict[Any, Any], new: dict[Any, Any], **bounds: Any) -> Differences:  # noqa: ANN401
    """Compare two states, of which the C pickler writes one, and dill the other."""
    one, other = decoded(pickle.dumps(old)), decoded(dill.dumps(new, 2))
    return diff_trees(one, other, PATIENT._replace(**bounds))


def summary(old: object, new: object) -> list[tuple[str, str]]:
    """Give the paths and kinds of the differences of two values under the key `k`."""
    return [(one.path, one.kind) for one in compared({"k": old}, {"k": new}).changes]


def test_keys() -> None:
    """Keys are added, removed, changed or the same, whatever their order."""
    old = {"same": [1], "note": "a", "gone": {1}, "b": 1, "two words": 1, 5: 1, None: 0}
    new = {None: 0, "b": 1.0, "note": "b", "same": [1], "more": None, "two words": 2, 5: 2}
    found = compared(old, new)
    assert found.changes == (
        Change("b", "changed", 1, 1.0),
        Change("gone", "removed", {1}, MISSING),
        Change("more", "added", MISSING, None),
        Change("note", "changed", "a", "b"),
        Change("['two words']", "changed", 1, 2),
        Change("[5]", "changed", 1, 2),
    )
    assert sorted(map(str, found.same)) == ["None", "same"]
    assert found.complete


PATHS: dict[str, tuple[Any, Any, list[tuple[str, str]]]] = {
    "nested": (
        {"orders": [{"price": 1}, {"price": 2}]},
        {"orders": [{"price": 1}, {"price": 3}]},
        [("k.orders[1].price", "changed")],
    ),
    "item appended": ([1], [1, 2], [("k[1]", "added")]),
    "item inserted in front": (list(range(50)), [-1, *range(50)], [("k[0]", "added")]),
    "item removed": ([1, 2, 3], [1, 3], [("k[1]", "removed")]),
    "items of others": ([1, 2, 3], [1, 4, 5, 3], [("k[1]", "changed"), ("k[2]", "added")]),
    "tuple": ((1, (2,)), (1, (3,)), [("k[1][0]", "changed")]),
    "other type": ([1], (1,), [("k", "changed")]),
    "bool and int": ([True, 1.0, 0.0], [1, 1, -0.0], [(f"k[{n}]", "changed") for n in range(3)]),
    "set": (
        {"a", 1, (1, "x")},
        {"a", "two", 1.5},
        [
            ("k{'two'}", "added"),
            ("k{(1, 'x')}", "removed"),
            ("k{1.5}", "added"),
            ("k{1}", "removed"),
        ],
    ),
    "dict of other keys": (
        {1: [1], ("a", 2): 1, b"x": 1},
        {1: [2], ("a", 2): 2, "1": 1},
        [
            ("k['1']", "added"),
            ("k[('a', 2)]", "changed"),
            ("k[1][0]", "changed"),
            ("k[b'x']", "removed"),
        ],
    ),
    "text with controls": ({"\x1b[2J": 1}, {"\x1b[2J": 2}, [("k['\\x1b[2J']", "changed")]),
    "long key": ({"x" * 90: 1}, {"x" * 90: 2}, [(f"k['{'x' * 79}...]", "changed")]),
    "dates as keys": (
        {dt.date(2026, 1, 1): 1},
        {dt.date(2026, 1, 1): 2},
        [("k[<datetime.date '2026-01-01'>]", "changed")],
    ),
    "field of an object": (Order(1, [1]), Order(1, [2]), [("k.lines[0]", "changed")]),
    "member of an enum": (Order(1, [Colour.RED]), Order(1, [Colour]), [("k.lines[0]", "changed")]),
    "arguments": (ValueError("a", 1), ValueError("a", 2), [("k()[1]", "changed")]),
    "items of an object": (Basket([1, 2]), Basket([1, 3]), [("k[1]", "changed")]),
    "other class": (Order(1), Basket([1]), [("k", "changed")]),
    "array": (np.zeros(3), np.ones(3), [("k", "changed")]),
    "date": (dt.date(2026, 1, 1), dt.date(2026, 1, 2), [("k", "changed")]),
}


@pytest.mark.parametrize("name", PATHS)
def test_paths(name: str) -> None:
    """Each difference has the path to it."""
    old, new, expected = PATHS[name]
    assert summary(old, new) == expected
    assert summary(old, old) == summary(new, new) == []


def test_arrays_of_two_picklers_are_the_same() -> None:
    """An array that another pickler wrote is the same, not changed."""
    state = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(["x", 1], object), "c": np.int8(1)}
    one, other = decoded(pickle.dumps(state)), decoded(dill.dumps({**state, "f": lambda: 1}))
    found = diff_trees(one, other, PATIENT)
    assert [(change.path, change.kind) for change in found.changes] == [("f", "added")]
    assert set(found.same) == {"a", "b", "c"}


def function() -> int:
    """Give a number."""
    return 1


def test_what_another_pickler_wrote_may_be_the_same() -> None:
    """An object of one type in two forms is rewritten, as is a function by value."""
    one = decoded(pickle.dumps({"k": [Order(1)], "f": function}, 5))
    other = decoded(dill.dumps({"k": [Order(1)], "f": function}, 3))
    by_value = decoded(b"\x80\x05}\x8c\x01f\x8c\ndill._dill\x8c\x10_create_function\x93)Rs.")
    assert diff_trees(one, other, PATIENT).changes == ()
    found = diff_trees(one, by_value, PATIENT).changes
    assert [(each.path, each.kind) for each in found] == [("f", "rewritten"), ("k", "removed")]
    called, made = (
        decoded(b"\x80\x05}\x8c\x01k]\x8c\x04shop\x8c\x05Place\x93K\x01\x85%bas." % way)
        for way in (b"R", b"\x81")
    )
    found = diff_trees(called, made, PATIENT).changes
    assert [(each.path, each.kind) for each in found] == [("k[0]", "rewritten")]


def test_members_and_keys_that_another_pickler_wrote() -> None:
    """A member of a set, or a key, in two forms is rewritten, neither added nor removed."""
    places = [
        hostile.text("shop") + hostile.text("Place") + b"\x93K\x01\x85" + way
        for way in (b"R", b"\x81")
    ]
    for form, path in ((b"\x8f(%bK\x05\x90", "k{<shop.Place>}"), (b"}%bK\x05s", "k[<shop.Place>]")):
        one, other = (decoded(stream_of(form % place)) for place in places)
        found = diff_trees(one, other, PATIENT).changes
        assert [(each.path, each.kind) for each in found] == [(path, "rewritten")]
        assert diff_trees(one, one, PATIENT).changes == ()


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("name", hostile.OBJECTS)
def test_objects_are_the_same_whoever_wrote_them(name: str, protocol: int) -> None:
    """Objects of users are never changed by another pickler."""
    state = {"k": hostile.OBJECTS[name]}
    one, other = decoded(pickle.dumps(state, protocol)), decoded(dill.dumps(state, protocol))
    assert {each.kind for each in diff_trees(one, other, PATIENT).changes} <= {"rewritten"}


VALUES = st.recursive(
    st.integers(0, 3) | st.sampled_from(["", "a", None, True, 1.0]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b", 1, None]), inner, max_size=3),
        st.frozensets(st.integers(0, 3), max_size=2),
        st.tuples(inner, inner),
    ),
    max_leaves=8,
)
STATES = st.dictionaries(st.sampled_from(["a", "b", "c", "d e"]), VALUES, max_size=4)


@QUIET
@given(STATES, STATES)
def test_every_difference_is_found_and_no_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    """A key is the same, or there is a difference in it, and the other way round has the same."""
    found, back = compared(old, new), compared(new, old)
    for key in old.keys() | new.keys():
        is_equal = key in old and key in new and equal(old[key], new[key])
        paths = [one.path for one in found.changes if begins(one.path, key)]
        assert (key in found.same) == is_equal == (not paths)
    turned = {"added": "removed", "removed": "added"}
    assert {(one.path, turned.get(one.kind, one.kind)) for one in back.changes} == {
        (one.path, one.kind) for one in found.changes
    }
    assert all(not equal(one.old, one.new) for one in found.changes)


def equal(one: Any, other: Any) -> bool:  # noqa: ANN401
    """Whether two values are the same but for the order of dicts."""
    return is_same(arranged(one), arranged(other))


def arranged(value: Any) -> Any:  # noqa: ANN401
    """Give a value with its dicts in one order."""
    if isinstance(value, dict):
        return {key: arranged(value[key]) for key in sorted(value, key=repr)}
    return type(value)(map(arranged, value)) if isinstance(value, (list, tuple)) else value


def begins(path: str, key: str) -> bool:
    """Whether a path is in a key of the state."""
    return path.startswith("['d e']" if key == "d e" else key)


def linked(count: int, changed: int = -1) -> list[dict[str, Any]]:
    """Give nodes that hold their neighbours, all of them in circles."""
    nodes: list[dict[str, Any]] = [{"n": n if n != changed else -1} for n in range(count)]
    for number, node in enumerate(nodes):
        node["next"], node["all"] = nodes[(number + 1) % count], nodes
    return nodes


def test_what_holds_itself() -> None:
    """In circles only what differs is a difference, once."""
    assert summary(linked(20), linked(20)) == []
    assert summary(linked(20), linked(20, 7)) == [("k[0]" + ".next" * 7 + ".n", "changed")]
    assert summary(linked(20), linked(21))[-1][1] == "added"


def test_bounds_of_depth_and_number() -> None:
    """Beyond a bound the difference is shown further out, or the comparison is not complete."""
    one, other = (decoded(stream_of(b"]" * 10_000 + end + b"a" * 10_000)) for end in (b"N", b"]"))
    found = diff_trees(one, other, PATIENT._replace(depth=5))
    assert [each.path for each in found.changes] == ["k[0][0][0][0]"]
    assert diff_trees(one, one, PATIENT).changes == ()
    assert found.complete
    found = compared({"k": [0] * 50}, {"k": [1] * 50}, shown=10)
    assert len(found.changes) == 10
    assert not found.complete
    found = compared({"k": [[0] * 5] * 50}, {"k": [[1] * 5] * 50}, seconds=-1)
    assert not found.complete


def test_a_state_that_was_cut() -> None:
    """What was not decoded is neither added nor removed, nor the same."""
    state = {"a": 1, "b": list(range(200_000)), "c": 2}
    one = decoded(pickle.dumps(state))
    other = decoded(pickle.dumps(state), PATIENT._replace(items=5_000))
    assert not other.complete
    for found in (diff_trees(one, other, PATIENT), diff_trees(other, one, PATIENT)):
        assert found.changes == ()
        assert found.same == ("a",)
        assert not found.complete
