"""Inert values as text: as Python shows plain data, and by the type's name anything else."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import fractions
import io
import math
import pickle
from typing import Any

import pytest

from aiocheckpoint._display.values import shown_value
from aiocheckpoint._snapshot.pickling.inert import InertBounds, decode_inert, to_json


class Place:
    """A class of the user's."""

    def __init__(self) -> None:
        self.street = "Elm"


class Colour(enum.Enum):
    """An enum of the user's."""

    RED = 1


def shown(value: object, bounds: InertBounds | None = None) -> str:
    """Store a value, decode it, and show it."""
    inert = decode_inert(io.BytesIO(pickle.dumps({"value": value}, 5)))
    tree = inert.keys[0].tree
    return shown_value(to_json(tree) if bounds is None else to_json(tree, bounds))


PLAIN: list[Any] = [
    None,
    True,
    12,
    -1.5,
    1 << 200,
    1 + 2j,
    "gift 'wrapped'",
    "tab\tand \x1b[2J",
    b"\x00a",
    [1, [2, []]],
    (),
    (1,),
    (1, "a"),
    {"a": {"b": 1}},
    {1: "one", (2, 3): None},
    {"$type": "mine"},
    set(),
    {7},
    frozenset({7}),
    "\ud800",
]


@pytest.mark.parametrize("value", PLAIN, ids=range(len(PLAIN)))
def test_plain_data(value: object) -> None:
    """Plain data is shown in Python's notation."""
    assert shown(value) == repr(value)


OBJECTS = {
    "place": (Place(), f"<{__name__}.Place>"),
    "class": (Place, f"<global {__name__}.Place>"),
    "enum": (Colour.RED, f"<{__name__}.Colour>"),
    "date": (dt.date(2026, 11, 30), "<datetime.date 2026-11-30>"),
    "decimal": (decimal.Decimal("1.50"), "<decimal.Decimal 1.50>"),
    "counter": (collections.Counter("a"), "<collections.Counter>"),
    "fraction": (fractions.Fraction(1, 2), "<fractions.Fraction>"),
    "inside": ({"a": [Place()]}, f"{{'a': [<{__name__}.Place>]}}"),
    "nan": (math.nan, "nan"),
    "bytearray": (bytearray(b"a"), "bytearray(b'a')"),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_objects(name: str) -> None:
    """An object is shown by its type, and by what is known of it."""
    value, expected = OBJECTS[name]
    assert shown(value).replace("fractions.Fraction 1/2", "fractions.Fraction") == expected


def test_arrays() -> None:
    """An array is shown by type and shape."""
    numpy = pytest.importorskip("numpy")
    assert shown(numpy.zeros((2, 3))) == "<numpy.ndarray <f8 [2, 3]>"


def test_cycles() -> None:
    """A value that holds itself ends."""
    value: list[Any] = []
    value.append(value)
    assert shown(value) == "[<list ...>]"


def test_what_is_left_out() -> None:
    """What a bound leaves out is counted."""
    few = InertBounds(shown=3, shown_text=4)
    assert shown([1, 2, 3, 4, 5], few) == "[1, 2, ... 3 more]"
    assert shown({"a": 1, "b": 2, "c": 3}, few) == "{'a': 1, 'b': 2, ... 1 more}"
    assert shown({1: 1, 2: 2}, few) == "{1: 1, ... 1 more}"
    assert shown("a long text", few) == "'a lo' ... 7 more"
    assert shown(b"long bytes", few) == "b'long' ... 6 more"
