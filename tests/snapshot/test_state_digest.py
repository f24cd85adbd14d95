"""The digest of a state: equal for equal plain data in any order, and another after any change."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocheckpoint._snapshot.state_digest import digest_state, first_other, is_flat

if TYPE_CHECKING:
    import random

State = dict[str, Any]


@dataclass
class Config:
    """An object in a state."""

    rate: float


class Level(IntEnum):
    """An enum whose members are integers."""

    LOW = 1


class Text(str):
    """A string of another class."""

    __slots__ = ()


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(st.characters(), max_size=8)
    | st.binary(max_size=8)
    | st.binary(max_size=4).map(bytearray)
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.dates()
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
    | st.fractions()
)
HASHABLE = SCALARS.filter(
    lambda value: (
        not (isinstance(value, bytearray) or (isinstance(value, Decimal) and value.is_snan()))
    )
)
KEYS = HASHABLE | st.tuples(HASHABLE, HASHABLE)
VALUES = st.recursive(
    SCALARS,
    lambda inside: (
        st.lists(inside, max_size=20)
        | st.lists(inside, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inside, max_size=5)
        | st.sets(HASHABLE, max_size=5)
        | st.frozensets(KEYS, max_size=5)
    ),
    max_leaves=10,
)
STATES = st.dictionaries(st.text(max_size=2), VALUES, max_size=4)


def known(value: object) -> object:
    """Give an object that equals that of another value exactly if both are the same plain data."""
    kind = type(value).__name__
    if isinstance(value, dict):
        return kind, frozenset((known(key), known(one)) for key, one in value.items())
    if isinstance(value, (set, frozenset)):
        return kind, frozenset(map(known, value))
    if isinstance(value, (list, tuple)):
        return kind, tuple(map(known, value))
    return kind, repr(value)


def shuffled(value: Any, order: random.Random) -> Any:  # noqa: ANN401 - plain data
    """Copy plain data, with dicts and sets filled in another order, and nothing shared."""
    if isinstance(value, dict):
        items = [(shuffled(key, order), shuffled(one, order)) for key, one in value.items()]
        return dict(order.sample(items, len(items)))
    if isinstance(value, (set, frozenset)):
        return type(value)(order.sample(parts := [*value], len(parts)))
    if isinstance(value, (list, tuple)):
        return type(value)([shuffled(one, order) for one in value])
    return value


@settings(deadline=None, max_examples=30)
@given(STATES, st.randoms(use_true_random=False))
def test_order_does_not_count(state: State, order: random.Random) -> None:
    """Equal data has an equal digest, however dicts and sets were filled."""
    assert digest_state(shuffled(state, order)) == digest_state(state)
    assert digest_state(state).whole is None
    assert first_other(state) is None


@settings(deadline=None, max_examples=40)
@given(STATES, STATES)
def test_digests_are_equal_for_equal_data_alone(one: State, other: State) -> None:
    """Two states have one digest exactly if they are the same data, types included."""
    assert (digest_state(one) == digest_state(other)) == (known(one) == known(other))


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_every_change_counts(data: st.DataObject) -> None:
    """Another value anywhere in a state makes another digest."""
    state: State = {"first": data.draw(VALUES), "rest": {"deep": [data.draw(VALUES)]}}
    before = digest_state(state)
    old, new = state["rest"]["deep"][0], data.draw(VALUES)
    state["rest"]["deep"][0] = new
    assert (digest_state(state) == before) == (known(old) == known(new))


PAIRS: dict[str, tuple[object, object]] = {
    "int and float": (1, 1.0),
    "int and bool": (1, True),
    "zeros": (0.0, -0.0),
    "none and text": (None, "None"),
    "nan and text": (float("nan"), "nan"),
    "bytes and bytearray": (b"a", bytearray(b"a")),
    "bytes and text": (b"a", "a"),
    "list and tuple": ([1], (1,)),
    "set and frozenset": ({1}, frozenset({1})),
    "set and dict": (set[int](), dict[int, int]()),
    "keys": ({1: 2}, {1.0: 2}),
    "key and text": ({1: 2}, {"1": 2}),
    "naive and aware": (dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),  # noqa: DTZ001
    "fold": (dt.datetime(2026, 1, 1, fold=0), dt.datetime(2026, 1, 1, fold=1)),  # noqa: DTZ001
    "zones": (
        dt.datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Rome")),
        dt.datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Paris")),
    ),
    "date and datetime": (dt.date(2026, 1, 1), dt.datetime(2026, 1, 1)),  # noqa: DTZ001
    "decimals": (Decimal("1.0"), Decimal("1.00")),
    "fractions": (Fraction(1, 3), Fraction(2, 3)),
    "uuids": (uuid.UUID(int=1), uuid.UUID(int=2)),
    "paths": (PurePosixPath("a"), PurePosixPath("b")),
    "ranges": (range(3), range(4)),
    "quoted": (["a", "b"], ["a', 'b"]),
    "surrogates": ("\ud800", "\\ud800"),
    "large numbers": (10**5000, 10**5000 + 1),
    "long texts": ("a" * 10_000, "a" * 9_999 + "b"),
    "long bytes": (b"a" * 10_000, bytearray(b"a" * 10_000)),
    "nested": ([[1], 2], [[1, 2]]),
}


@pytest.mark.parametrize(("one", "other"), PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("filler", [0, 30], ids=["small state", "large state"])
def test_what_python_takes_for_alike(one: object, other: object, filler: int) -> None:
    """Values of other types differ, though they are equal for Python or read alike."""
    rest = {f"k{number}": number for number in range(filler)}
    found, another = digest_state({**rest, "v": one}), digest_state({**rest, "v": other})
    assert found.plain != another.plain
    assert found.whole is another.whole is None


def test_nan_equals_nan() -> None:
    """A state with NaN equals itself, and a copy of it."""
    assert digest_state({"x": float("nan")}) == digest_state({"x": float("inf") * 0})


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(st.text(max_size=3), SCALARS, max_size=16))
def test_short_cut_gives_the_same_digest(state: State) -> None:
    """A small state has one digest, with the short cut and, behind sixteen keys more, without."""
    more = {f"filler {number:02}": number for number in range(17)}
    shared = {"inner": state, **more}
    assert digest_state(shared) == digest_state({**more, "inner": dict(reversed(state.items()))})


def test_shared_values_equal_copies() -> None:
    """A list that stands in a state twice equals two lists, and takes no more time for it."""
    row = [1, 2]
    assert digest_state({"a": row, "b": row}) == digest_state({"a": [1, 2], "b": [1, 2]})
    doubled: list[Any] = []
    for _ in range(90):
        doubled = [doubled, doubled]
    assert digest_state({"a": doubled}).whole is None


def deep(levels: int) -> list[Any]:
    """Make a list inside a list and so on."""
    value: list[Any] = [1]
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [100, 101, 5_000])
def test_deep_nesting_counts_as_another_value(levels: int) -> None:
    """More than 100 levels are known by their pickle, or by their type alone."""
    found = digest_state({"deep": deep(levels), "n": 1})
    assert (found.whole is None) == (levels <= 100)
    assert found.plain != digest_state({"deep": deep(levels), "n": 2}).plain


def test_depth_counts_the_same_for_shared_values() -> None:
    """Depth is that of the data, whether or not it was met before at another level."""
    inner = deep(90)
    outer = inner
    for _ in range(20):
        outer = [outer]
    assert digest_state({"a": inner, "b": outer}) == digest_state({"b": outer, "a": inner})
    assert (
        digest_state({"a": inner, "b": outer}).plain
        == digest_state({"a": deep(90), "b": deep(110)}).plain
    )


def test_a_value_that_holds_itself_counts_as_another_value() -> None:
    """A circle is known by its pickle. The rest of the state stays exact."""
    circle: list[Any] = [1]
    circle.append(circle)
    same: list[Any] = [1]
    same.append(same)
    assert digest_state({"c": circle}) == digest_state({"c": same})
    assert digest_state({"c": circle}).whole is not None
    assert digest_state({"c": circle, "n": 1}).plain != digest_state({"c": circle, "n": 2}).plain
    state: State = {"n": 1}
    state["me"] = state
    assert digest_state(state).whole is not None


OTHERS: dict[str, tuple[object, object]] = {
    "dataclass": (Config(0.1), Config(0.2)),
    "enum": (Level.LOW, Config(0.1)),
    "text of a class": (Text("a"), Text("b")),
    "array": (np.zeros(3), np.ones(3)),
    "numpy scalar": (np.float64(0.1), np.float64(0.2)),
    "class": (Config, Level),
    "in a list": ([1, [Config(0.1)]], [1, [Config(0.2)]]),
    "as a key": ({Level.LOW: 1}, {Text("a"): 1}),
}


@pytest.mark.parametrize(("one", "other"), OTHERS.values(), ids=OTHERS)
def test_other_values_differ_in_the_whole_digest_alone(one: object, other: object) -> None:
    """An object counts by type and pickle, apart from the plain data beside it."""
    found, another = digest_state({"v": one, "n": 1}), digest_state({"v": other, "n": 1})
    assert found.plain == another.plain
    assert found.whole is not None
    assert found.whole != another.whole
    assert digest_state({"v": one, "n": 1}) == found
    assert digest_state({"v": one, "n": 2}).plain != found.plain
    assert first_other({"n": 1, "v": one}) is not None
    assert not is_flat({"v": one})


def test_values_without_a_pickle_count_by_type() -> None:
    """A lock or a lambda has no pickle: two of them count as equal, and a third type does not."""
    found = digest_state({"v": threading.Lock()})
    assert found == digest_state({"v": threading.Lock()})
    assert found != digest_state({"v": lambda: None})


def test_memory_that_runs_out_is_no_missing_pickle() -> None:
    """A MemoryError of a value's own pickling comes out."""

    class Greedy:
        def __reduce__(self) -> tuple[Any, ...]:
            raise MemoryError

    with pytest.raises(MemoryError):
        digest_state({"v": Greedy()})


@pytest.mark.parametrize("size", [17, 700])
def test_large_containers(size: int) -> None:
    """Order and changes count in large containers as in small ones."""
    rows = [
        {"id": number, "name": f"row {number}", "tags": {number, "x"}} for number in range(size)
    ]
    turned = [dict(reversed(row.items())) for row in rows]
    found = digest_state({"rows": rows})
    assert found == digest_state({"rows": turned})
    turned[-1]["name"] = "another"
    assert found != digest_state({"rows": turned})
    assert digest_state({"n": list(range(size))}) != digest_state({"n": list(range(size))[::-1]})
    numbers = {str(number): float(number) for number in range(size)}
    assert digest_state(numbers) == digest_state(dict(reversed(numbers.items())))


def test_digest_is_that_of_every_python_and_release() -> None:
    """The digest is stored: another one for the same data would warn of each stored run."""
    state = {"lr": 0.1, "rows": [1, (2, None)], "when": dt.date(2026, 1, 2), "s": {"b", "a"}}
    wide = {f"k{number}": [number, {"x": "ä" * number}] for number in range(40)}
    found = [digest_state(one).plain.hex()[:16] for one in (state, wide, {"n": 10**700})]
    assert found == ["0ceaffd62fcf2355", "35aac458a71d3479", "ce7e94c63235db69"]


def test_namespace_is_no_dict() -> None:
    """An object with attributes counts as another value."""
    assert digest_state({"v": SimpleNamespace(a=1)}).whole is not None
