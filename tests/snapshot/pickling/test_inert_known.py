"""Well-known objects are shown by what they are, and others by their parts."""

from __future__ import annotations

import collections
import functools
import json
import pickle
import re
import sys
from typing import Any

import dill  # type: ignore[import-untyped]
import known_objects
import numpy as np
import pandas as pd  # type: ignore[import-untyped] # pyright: ignore[reportMissingTypeStubs]
import pytest
from inert_trees import decoded, decoded_value
from known_objects import KNOWN, Basket, Colour, Order

from aiocheckpoint._snapshot.pickling.inert import Inert, to_json, type_name

PROTOCOLS = range(6)
MODULE = known_objects.__name__


def pickled(value: object) -> list[bytes]:
    """Pickle a state with one value in all ways."""
    return [
        pickler.dumps({"k": value}, protocol)
        for pickler in (pickle, dill)
        for protocol in PROTOCOLS
    ]


def only(inert: Inert) -> Any:  # noqa: ANN401
    """Give the only value of a state."""
    (found,) = inert.keys
    return found.tree


def shown(value: object, protocol: int = 5) -> Any:  # noqa: ANN401
    """Give the JSON of a value that was pickled."""
    return to_json(only(decoded(pickle.dumps({"k": value}, protocol))))


@pytest.mark.parametrize("name", KNOWN)
def test_known_objects(name: str) -> None:
    """The text or shape of a well-known object is shown. Its digest is one for all picklers."""
    value, expected = KNOWN[name]
    states = [decoded(data) for data in pickled(value)]
    for inert in states:
        assert to_json(only(inert)) == without_fold(expected, inert, states)
        assert type_name(only(inert)) == expected["$type"]
    if "fold" not in str(expected):  # protocols 0 to 3 have none
        assert len({inert.keys[0].digest for inert in states}) == 1


def without_fold(expected: dict[str, Any], inert: Inert, states: list[Inert]) -> dict[str, Any]:
    """Leave out what protocols 0 to 3 do not write."""
    if states.index(inert) % len(PROTOCOLS) > 3 or "fold" not in str(expected):
        return expected
    return {**expected, "$value": expected["$value"].removesuffix(" fold=1")}


@pytest.mark.parametrize("name", KNOWN)
def test_other_values_of_known_types(name: str) -> None:
    """The digest of each well-known object is its own."""
    digests = [decoded(pickled(value)[5]).keys[0].digest for value, _ in KNOWN.values()]
    assert digests.count(decoded(pickled(KNOWN[name][0])[5]).keys[0].digest) == 1


@pytest.mark.parametrize(
    "pair",
    [
        (np.zeros(3), np.array([0.0, 0.0, 1.0])),
        (np.zeros(2, "M8[D]"), np.zeros(2, "M8[s]")),
        (np.ones((2, 3)), np.asfortranarray(np.ones((2, 3)))),
        (np.zeros(1, [("a", "i4")]), np.zeros(1, [("b", "i4")])),
        (np.array(["a"], object), np.array(["b"], object)),
        (np.float64(1), np.float32(1)),
        (np.timedelta64(1, "D"), np.timedelta64(1, "s")),
    ],
    ids=["values", "units", "orders", "fields", "objects", "scalars", "units of scalars"],
)
def test_arrays_that_differ(pair: tuple[Any, Any]) -> None:
    """Arrays and scalars that look alike have different digests."""
    one, other = ({decoded(data).keys[0].digest for data in pickled(value)} for value in pair)
    assert len(one) == len(other) == 1
    assert one != other


def test_subclass_of_an_array() -> None:
    """A subclass is shown with its own name."""
    found = shown(np.zeros(2).view(np.recarray))
    assert found["$type"] == "numpy.rec.recarray"
    assert found["$shape"] == [2]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_dataclasses_and_enums(protocol: int) -> None:
    """A dataclass has its fields, an enum its value."""
    inner = {"$type": f"{MODULE}.Order", "$state": {"number": 2, "lines": []}}
    assert shown(Order(1, [Order(2)]), protocol) == {
        "$type": f"{MODULE}.Order",
        "$state": {"number": 1, "lines": [inner]},
    }
    if sys.version_info < (3, 11, 4):  # It pickles a member by its name.
        assert shown(Colour.RED, protocol) == {"$global": f"{MODULE}.Colour.RED"}
    else:
        assert shown(Colour.RED, protocol) == {"$type": f"{MODULE}.Colour", "$args": ["red"]}


def test_containers_of_the_library() -> None:
    """Collections are shown with their items."""
    ordered = shown(collections.OrderedDict(a=1, b=2))
    assert ordered == {"$type": "collections.OrderedDict", "$entries": [["a", 1], ["b", 2]]}
    assert shown(collections.defaultdict(list, a=[1])) == {
        "$type": "collections.defaultdict",
        "$args": [{"$global": "builtins.list"}],
        "$entries": [["a", [1]]],
    }
    assert shown(collections.Counter("a")) == {"$type": "collections.Counter", "$args": [{"a": 1}]}
    assert shown(collections.deque([1, 2], 3)) == {
        "$type": "collections.deque",
        "$args": [{"$type": "tuple", "$items": []}, 3],
        "$items": [1, 2],
    }


def test_a_list_with_attributes() -> None:
    """An object may have state and items."""
    basket = Basket([1, 2])
    basket.owner = "Ann"
    assert shown(basket) == {
        "$type": f"{MODULE}.Basket",
        "$state": {"owner": "Ann"},
        "$items": [1, 2],
    }


def test_classes_and_functions() -> None:
    """What is stored by name is a global, what dill stores by value has a type."""
    state = {"class": Order, "method": Order.__init__, "len": len, "code": lambda: 1, "dots": ...}
    trees = {found.key: found.tree for found in decoded(dill.dumps(state)).keys}
    assert to_json(trees["class"]) == {"$global": f"{MODULE}.Order"}
    assert to_json(trees["method"]) == {"$global": f"{MODULE}.Order.__init__"}
    assert to_json(trees["len"])["$global"].endswith(".len")
    assert to_json(trees["dots"]) == {"$global": "builtins.Ellipsis"}
    assert [type_name(trees[key]) for key in ("class", "code")] == ["global", "function"]


def test_frames_with_texts_of_pyarrow() -> None:
    """Axes that pyarrow holds, in one piece or in chunks, have lengths as well."""
    pytest.importorskip("pyarrow")
    texts = pd.array(["x", "y", "z"], dtype="string[pyarrow]")
    frame = pd.DataFrame({"a": [1, 2, 3]}, index=pd.Index(texts, name="b"))
    assert shown(frame) == {"$type": "pandas.DataFrame", "$shape": [3, 1]}
    twice = pd.concat([frame, frame])
    assert shown(twice) == {"$type": "pandas.DataFrame", "$shape": [6, 1]}
    assert shown(twice["a"]) == {"$type": "pandas.Series", "$shape": [6]}


def test_frames_have_a_shape() -> None:
    """A table of pandas is shown by rows and columns, a series by its length."""
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"], "c": [1.5, 2, 3]})
    assert shown(frame) == {"$type": "pandas.DataFrame", "$shape": [3, 3]}
    assert shown(frame.set_index("b")) == {"$type": "pandas.DataFrame", "$shape": [3, 2]}
    assert shown(frame.set_index("a")) == {"$type": "pandas.DataFrame", "$shape": [3, 2]}
    assert shown(frame.set_index(["a", "b"])) == {"$type": "pandas.DataFrame", "$shape": [3, 1]}
    dated = frame.set_index(pd.date_range("2026-01-01", periods=3))
    assert shown(dated) == {"$type": "pandas.DataFrame", "$shape": [3, 3]}
    assert shown(frame["a"]) == {"$type": "pandas.Series", "$shape": [3]}
    other = frame.assign(a=[1, 2, 4])
    one, two = (decoded(pickle.dumps({"k": each})).keys[0].digest for each in (frame, other))
    assert one != two


def test_an_unknown_function() -> None:
    """An object that a function makes is shown by the function and its arguments."""
    assert shown(re.compile("a+")) == {"$type": "re.Pattern", "$args": ["a+", 32]}
    found = shown(functools.partial(len, "a"))
    assert (found["$type"], found["$args"]) == ("functools.partial", [{"$global": "builtins.len"}])


BROKEN = {
    "short": b"\x8c\x08datetime\x8c\x08datetime\x93C\x03abc\x85R",
    "month 13": b"\x8c\x08datetime\x8c\x04date\x93C\x04\x07\xea\x0d\x01\x85R",
    "text": b"\x8c\x08datetime\x8c\x04date\x93\x8c\x04abcd\x85R",
    "a dict": b"\x8c\x08datetime\x8c\x08datetime\x93}\x85R",
    "a dict as date": b"\x8c\x08datetime\x8c\x04date\x93}\x85R",
    "a dict as time": b"\x8c\x08datetime\x8c\x04time\x93}\x85R",
    "a list": b"\x8c\x08datetime\x8c\x04date\x93](K\x07K\xeaK\x0bK\x1ee\x85R",
    "no args": b"\x8c\x07decimal\x8c\x07Decimal\x93)R",
    "too many": b"\x8c\x07decimal\x8c\x07Decimal\x93KK\x8c\x01a\x86R",
    "state": b"\x8c\x07decimal\x8c\x07Decimal\x93\x8c\x011\x85R}\x8c\x01aK\1sb",
    "UUID": b"\x8c\x04uuid\x8c\x04UUID\x93)\x81}\x8c\x03int\x8a\x11" + b"\x7f" * 17 + b"sb",
    "delta": b"\x8c\x08datetime\x8c\x09timedelta\x93J\xff\xff\xff\x7fK\0K\0\x87R",
    "scalar": b"\x8c\x16numpy._core.multiarray\x8c\x06scalar\x93NN\x86R",
    "scalar of other length": b"\x8c\x16numpy._core.multiarray\x8c\x06scalar\x93"
    b"\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02f8\x85R(K\x03\x8c\x01<tbC\x03abc\x86R",
    "array": b"\x8c\x16numpy._core.multiarray\x8c\x0c_reconstruct\x93)R(NNNNNtb",
    "shape": b"\x8c\x13numpy._core.numeric\x8c\x0b_frombuffer\x93(C\0N\x8c\1a\x85\x8c\1CtR",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_only_looks_known(name: str) -> None:
    """An object that is named like a well-known one, and is none, is shown by its parts."""
    tree = decoded_value(BROKEN[name])
    assert "$value" not in to_json(tree)
    assert "$shape" not in to_json(tree)
    json.dumps(to_json(tree))


@pytest.mark.parametrize(
    ("maker", "expected"),
    [
        ("zoneinfo:ZoneInfo._unpickle", "zoneinfo.ZoneInfo"),
        ("numpy._core.multiarray:_reconstruct", "numpy.ndarray"),
        ("numpy.core.numeric:_frombuffer", "numpy.ndarray"),
        ("dill._dill:_create_array", "numpy.ndarray"),
        ("numpy._core.multiarray:scalar", "numpy.generic"),
        ("shop:make_place", "shop.make_place"),
    ],
)
def test_what_a_function_makes_has_the_type_of_it(maker: str, expected: str) -> None:
    """An object is named by its type, not by the function that makes it, if that is known."""
    module, _, name = maker.partition(":")
    tree = decoded_value(f"c{module}\n{name}\n".encode() + b"K\x07\x85R")
    assert to_json(tree) == {"$type": expected, "$args": [7]}


def test_zones_of_zones() -> None:
    """A date whose zone is a date, and so on, is no well-known object."""
    dates = b"\x8c\x08datetime\x8c\x08datetime\x93\x940"
    content = b"C\x0a\x07\xea\x0b\x1e\0\0\0\0\0\0"
    levels = 5_000
    tree = decoded_value(dates + (b"h\0" + content) * levels + b"N" + b"\x86R" * levels)
    assert to_json(tree)["$type"] == "datetime.datetime"
    assert "$value" not in to_json(tree)
