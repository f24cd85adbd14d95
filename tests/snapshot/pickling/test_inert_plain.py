"""Plain data is decoded as unpickling does, by any pickler and in any protocol."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from inert_trees import decoded, is_same
from streams import dump_whole

from aiocheckpoint._snapshot.keys import POSITION_KEY
from aiocheckpoint._snapshot.pickling.opcodes import MalformedError

if TYPE_CHECKING:
    from aiocheckpoint._snapshot.pickling.inert import Inert

QUIET = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
PROTOCOLS = range(6)

SCALARS = st.one_of(
    st.none() | st.booleans() | st.integers() | st.integers(-(2**4000), 2**4000),
    st.floats() | st.complex_numbers(),
    st.text(st.characters(), max_size=8) | st.binary(max_size=8),
    st.sampled_from(["x" * 300, "é" * 70_000, b"y" * 300, b"\xff" * 70_000, 1 << 3000]),
)
KEYS = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
    st.text(st.characters(), max_size=5) | st.binary(max_size=5),
    st.tuples(st.integers(), st.text(max_size=3)) | st.frozensets(st.integers(), max_size=3),
)
VALUES = st.recursive(
    SCALARS | st.binary(max_size=9).map(bytearray) | st.sets(KEYS, max_size=4),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(KEYS, inner, max_size=5),
        st.frozensets(KEYS, max_size=4),
    ),
    max_leaves=16,
)
STATES = st.dictionaries(st.text(st.characters(), max_size=6), VALUES, max_size=6)


def streams(state: dict[Any, Any]) -> list[bytes]:
    """Pickle a state in all ways."""
    picklers: list[Any] = [pickle, dill]
    by_python = io.BytesIO()
    vars(pickle)["_Pickler"](by_python, 4).dump(state)
    return [
        *(pickler.dumps(state, protocol) for pickler in picklers for protocol in PROTOCOLS),
        by_python.getvalue(),
        dump_whole(state).data,
    ]


def state_of(inert: Inert) -> dict[Any, Any]:
    """Give the decoded state."""
    return {found.key: found.tree for found in inert.keys}


@QUIET
@given(STATES)
@example({"a": [[1] * 3000, {n: str(n) for n in range(3000)}, set(range(3000))]})
@example({"a": {(1, (2, ("x",))): frozenset({frozenset({1}), (2,)})}})
def test_it_is_as_unpickled(state: dict[str, Any]) -> None:
    """Every value is equal to what unpickling gives, types and orders included."""
    digests = set[tuple[str, ...]]()
    for data in streams(state):
        inert = decoded(data)
        assert inert.complete
        assert inert.position is None
        assert is_same(state_of(inert), pickle.loads(data))
        digests.add(tuple(found.digest for found in inert.keys))
    assert len(digests) == 1


@QUIET
@given(STATES, STATES)
def test_equal_values_have_equal_digests(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two values have the same digest if, and only if, they are the same."""
    found = {
        key.digest: (key.digest, key.tree)
        for state in (one, other)
        for key in decoded(pickle.dumps(state)).keys
    }
    for state in (one, other):
        for key in decoded(dill.dumps(state, 2)).keys:
            assert all(
                (key.digest == digest) == is_same(ordered(key.tree), ordered(tree))
                for digest, tree in found.values()
            )


def ordered(value: Any) -> Any:  # noqa: ANN401
    """Give a value with its dicts in one order."""
    if isinstance(value, dict):
        return dict(sorted(((key, ordered(one)) for key, one in value.items()), key=by_text))
    if isinstance(value, (list, tuple)):
        return type(value)(map(ordered, value))
    return value


def by_text(item: tuple[Any, Any]) -> str:
    """Sort the items of a dict."""
    return repr(sorted(map(repr, item[0])) if isinstance(item[0], frozenset) else item[0])


def test_orders_do_not_matter() -> None:
    """Dicts and sets in other orders have the same digests, and lists have not."""
    names = [f"key {number}" for number in range(700)]
    state = {
        "dict": dict.fromkeys(names, 1),
        "nested": {"a": {"b": [], "c": {}}, "d": 1},
        "keys": {1: 1, (2,): 2, None: 3},
        "set": {"a", "b", "c", (1,), None},
        "list": ["a", "b"],
    }
    turned = {
        "dict": dict.fromkeys(reversed(names), 1),
        "nested": {"d": 1, "a": {"c": {}, "b": []}},
        "keys": {None: 3, (2,): 2, 1: 1},
        "set": {None, (1,), "c", "b", "a"},
        "list": ["b", "a"],
    }
    one, other = (
        {found.key: found.digest for found in decoded(pickle.dumps(each)).keys}
        for each in (state, turned)
    )
    assert {key for key in state if one[key] == other[key]} == {"dict", "nested", "keys", "set"}


TELLING: list[Any] = [
    *(1, 1.0, True, "1", b"1", bytearray(b"1"), 1 + 0j, 0, 0.0, -0.0, False, None, "None", "", b""),
    *([], (), {}, set[int](), frozenset[int](), [1], (1,), {1}, frozenset({1}), {1: 1}, {"1": 1}),
    *([1, [2]], [[1], 2], [1, 2], ["1, 2"], ["1", "2"], {"a": "b"}, [("a", "b")], {"a", "b"}),
    *("x" * 2000, b"x" * 2000, bytearray(b"x" * 2000), 1 << 9000, ["x" * 2000], ("x" * 2000,)),
    *(float("inf"), float("nan"), "nan", [[[[]]]], [[[]], []], {"a": [1], "b": 2}, {"a": [1, 2]}),
]


def test_different_values_have_different_digests() -> None:
    """Values of different types or parts have different digests."""
    inert = decoded(pickle.dumps(dict(enumerate(TELLING))))
    assert len({found.digest for found in inert.keys}) == len(TELLING)
    assert all(len(found.digest) == 16 for found in inert.keys)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_position_is_no_key(protocol: int) -> None:
    """The position is told apart from the keys. The key of `data` is one of them."""
    state = {"a": 1, POSITION_KEY: 3, "checkpoint_data": {"rows": [1]}}
    inert = decoded(pickle.dumps(state, protocol) + b"other bytes")
    assert inert.position == 3
    assert state_of(inert) == {"a": 1, "checkpoint_data": {"rows": [1]}}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sizes(protocol: int) -> None:
    """A key's size is its share of the stream. What is shared counts for the first key."""
    shared = ["s" * 5000]
    state = {"one": shared, "two": shared, "rows": list(range(3000)), "small": 1, 5: {"a": [()]}}
    data = pickle.dumps(state, protocol)
    sizes = {found.key: found.size for found in decoded(data).keys}
    assert len(data) - 40 <= sum(sizes.values()) <= len(data)
    assert sizes["one"] > 5000
    assert 4 < sizes["two"] < 30
    assert abs(sizes["rows"] - len(pickle.dumps(state["rows"], protocol))) < 50


@pytest.mark.parametrize("count", [0, 1, 2, 999, 1000, 1001, 2500])
def test_numbers_of_keys(count: int) -> None:
    """Any number of keys is decoded, with a size for each."""
    state = {f"key {number}": [number] for number in range(count)}
    for data in (pickle.dumps(state, 0), pickle.dumps(state, 5)):
        inert = decoded(data)
        assert state_of(inert) == state
        assert all(found.size > 5 for found in inert.keys)


@pytest.mark.parametrize("value", [[1], (), "text", None, 5, {1}, 1j, b"x"], ids=repr)
def test_what_is_no_dict(value: object) -> None:
    """A pickle of something else is refused."""
    for protocol in PROTOCOLS:
        with pytest.raises(MalformedError):
            decoded(pickle.dumps(value, protocol))
