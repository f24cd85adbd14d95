"""Inert trees become plain JSON, whatever they hold."""

from __future__ import annotations

import base64
import json
import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from inert_trees import PATIENT, decoded_value
from strategies import ATOMS, nested

from aiocheckpoint._snapshot.pickling.inert import to_json, type_name

QUIET = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
RING: list[Any] = [1]
RING.append((RING,))

SHOWN: dict[str, tuple[Any, Any]] = {
    "none": (None, None),
    "true": (True, True),
    "int": (-5, -5),
    "largest int": (2**53 - 1, 2**53 - 1),
    "large int": (2**53, {"$type": "int", "$value": "9007199254740992"}),
    "larger int": (-(16**3000), {"$type": "int", "$value": "-0x1" + "0" * 3000}),
    "huge int": (
        16**20_000,
        {"$type": "int", "$value": "0x1" + "0" * 9997, "$cut": 10_003},
    ),
    "float": (-0.5, -0.5),
    "nan": (float("nan"), {"$type": "float", "$value": "nan"}),
    "inf": (float("-inf"), {"$type": "float", "$value": "-inf"}),
    "complex": (1 + 2j, {"$type": "complex", "$value": "(1+2j)"}),
    "text": ("é\x1b\n", "é\x1b\n"),
    "surrogate": (
        "a\ud800'",
        {"$type": "str", "$value": ascii("a\ud800'"), "$escaped": True},
    ),
    "long text with a surrogate": (
        "\ud800" * 10_001,
        {"$type": "str", "$value": ascii("\ud800" * 10_000), "$escaped": True, "$cut": 1},
    ),
    "long text": ("x" * 10_005, {"$type": "str", "$value": "x" * 10_000, "$cut": 5}),
    "bytes": (b"\x00\xff", {"$type": "bytes", "$size": 2, "$base64": "AP8="}),
    "long bytes": (
        bytearray(10_001),
        {"$type": "bytearray", "$size": 10_001}
        | {"$base64": base64.b64encode(bytes(10_000)).decode(), "$cut": 1},
    ),
    "list": ([1, [2]], [1, [2]]),
    "tuple": ((1, ()), {"$type": "tuple", "$items": [1, {"$type": "tuple", "$items": []}]}),
    "set": ({3, 1, "a", None}, {"$type": "set", "$items": [None, 1, 3, "a"]}),
    "frozenset": (frozenset({2, 10}), {"$type": "frozenset", "$items": [2, 10]}),
    "dict": ({"a": 1, "": {}}, {"a": 1, "": {}}),
    "numbers as keys": ({1: "a"}, {"$type": "dict", "$items": [[1, "a"]]}),
    "marks as keys": (
        {"$type": "int", "b": 1},
        {"$type": "dict", "$items": [["$type", "int"], ["b", 1]]},
    ),
    "surrogates as keys": (
        {"\udc80": 1},
        {
            "$type": "dict",
            "$items": [[{"$type": "str", "$value": "'\\udc80'", "$escaped": True}, 1]],
        },
    ),
    "many": (
        list(range(20_000)),
        [*range(9_999), {"$cut": 10_001}],
    ),
    "many keys": (
        {str(n): n for n in range(20_000)},
        {str(n): n for n in range(9_999)} | {"$cut": 10_001},
    ),
    "cycle": (RING, [1, {"$type": "tuple", "$items": [{"$type": "list", "$cycle": 2}]}]),
    "class": (dict, {"$global": "builtins.dict"}),
}


@pytest.mark.parametrize("name", SHOWN)
def test_values(name: str) -> None:
    """Each value is shown as is documented."""
    value, expected = SHOWN[name]
    tree = decoded_value(pickle.dumps(value, 5)[2:-1])
    assert to_json(tree) == expected
    assert json.loads(json.dumps(to_json(tree), allow_nan=False)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"\x82\x05", {"$type": "extension 5"}),
        (b"\x84\x05\x01\0\0", {"$type": "extension 261"}),
        (b"K\x07Q", {"$type": "persistent id", "$args": [7]}),
        (b"Pabc\n", {"$type": "persistent id", "$args": ["abc"]}),
        (b"\x97\x98", {"$type": "buffer"}),
        (b"\x8c\x01m\x8c\x01C\x93", {"$global": "m.C"}),
        (b"\x8c\x01m\x8c\x01C\x93}b", {"$global": "m.C", "$state": {}}),
        (b"\x8c\x01m\x8c\x01C\x93)\x81", {"$type": "m.C"}),
        (b"\x8c\x01m\x8c\x01C\x93K\x01\x85}\x8c\x01aK\x02s\x92", {"$type": "m.C"}
         | {"$args": [1, {"a": 2}]}),
        (b"\x8c\x01m\x8c\x01C\x93)R(K\x01K\x02u", {"$type": "m.C", "$entries": [[1, 2]]}),
        (b"\x8c\x01m\x8c\x01C\x93)R(K\x01\x90K\x02a", {"$type": "m.C", "$items": [1, 2]}),
        (b"(im\nC\n", {"$type": "m.C"}),
        (b"(cm\nC\nK\x01o", {"$type": "m.C", "$args": [1]}),
        (b"K\x01K\x02\x93", {"$global": "?"}),
        (b"cm\n" + b"x" * 2000 + b"\n", {"$global": "m." + "x" * 998 + "..."}),
        (b"\x8c\x01m\x8c\x03\xed\xa0\x80\x93", {"$global": "m.\\ud800"}),
        (b"K\x01)R", {"$type": "?", "$args": [1, {"$type": "tuple", "$items": []}]}),
    ],
    ids=[
        *("extension", "large extension", "persistent", "persistent line", "buffer", "global"),
        *("changed global", "object", "named arguments", "entries", "items", "INST", "OBJ"),
        *("odd name", "long name", "surrogate", "odd call"),
    ],
)  # fmt: skip
def test_placeholders(value: bytes, expected: dict[str, Any]) -> None:
    """What is no plain data has its type, or what it is, and its parts."""
    tree = decoded_value(value)
    assert to_json(tree) == expected
    assert type_name(tree) == expected.get("$type", "global")


def test_types() -> None:
    """Plain values have the names of their types."""
    values: list[Any] = [1, True, 1.5, "a", b"a", bytearray(b"a"), 1j, [], (), {}, {1}, frozenset()]
    for value in values:
        assert type_name(decoded_value(pickle.dumps(value, 5)[2:-1])) == type(value).__name__
    assert type_name(None) == "None"


def test_deep_trees() -> None:
    """Levels beyond the bound are left out."""
    shown = to_json(decoded_value(b"]" * 10_001 + b"a" * 10_000), PATIENT._replace(depth=3))
    assert shown == [[[{"$type": "list", "$cut": 1}]]]
    assert json.dumps(to_json(decoded_value(b"]" * 5_001 + b"a" * 5_000))).count("[") == 64


def test_values_that_are_too_long_to_be_read() -> None:
    """A text, bytes or integer beyond the bound is known by its size and digest."""
    bounds = PATIENT._replace(text=70_000)
    for value, size in (("x" * 80_000, 80_000), (b"x" * 80_000, 80_000), (1 << 800_000, 100_001)):
        data = pickle.dumps(value, 5)[2:-1]
        tree = decoded_value(data, bounds)
        assert to_json(tree) == {"$type": type(value).__name__, "$size": size}
        assert type_name(tree) == type(value).__name__


@QUIET
@given(nested(ATOMS))
def test_all_values_are_json(value: object) -> None:
    """Any value that is pickled can be shown as JSON of UTF-8."""
    shown = to_json(decoded_value(pickle.dumps(value, 4)[2:-1]))
    json.dumps(shown, allow_nan=False, ensure_ascii=False).encode()
