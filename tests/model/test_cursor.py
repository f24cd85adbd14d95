"""Cursors as JSON: what is taken, what comes back, and what is refused."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocheckpoint._model.cursor import MOST_CURSOR_BYTES, decode_cursor, encode_cursor
from aiocheckpoint.errors import CheckpointError, InvalidTypeError, InvalidValueError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


class _Page(IntEnum):
    FIRST = 1


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_a_cursor_comes_back_as_it_was_given(cursor: dict[str, Any]) -> None:
    """Any plain JSON comes back with the same types, in one line."""
    text = encode_cursor(cursor)
    assert "\n" not in text
    assert repr(decode_cursor(text)) == repr(cursor)  # 1, 1.0, True and -0.0 are told apart.


def test_a_decoded_cursor_is_the_callers_own() -> None:
    """Each decoding gives a dict that no other caller has."""
    text = encode_cursor({"pages": [1]})
    decode_cursor(text)["pages"].append(2)
    assert decode_cursor(text) == {"pages": [1]}


@pytest.mark.parametrize(
    ("cursor", "place"),
    [
        ({"a": {"b": [0, 7j]}}, "cursor['a']['b'][1] is of type complex"),
        ({"a": (1, 2)}, "cursor['a'] is of type tuple"),
        ({"a": b"secret"}, "cursor['a'] is of type bytes"),
        ({"a": _Page.FIRST}, "cursor['a'] is of type _Page"),
        ({"a": OrderedDict()}, "cursor['a'] is of type OrderedDict"),
        ({"a": [{1: "secret"}]}, "a key of cursor['a'][0] is of type int"),
        ({None: 1}, "a key of cursor is of type NoneType"),
        ([("page", 1)], "cursor= is a dict of plain JSON, not a list"),
        ("secret", "cursor= is a dict of plain JSON, not a str"),
        (OrderedDict(page=1), "not a OrderedDict"),
    ],
)
def test_what_is_no_json_is_refused_by_its_place(cursor: object, place: str) -> None:
    """Another type is refused by its place, without its value."""
    with pytest.raises(InvalidTypeError) as caught:
        encode_cursor(cursor)
    assert place in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("cursor", "place"),
    [
        ({"a": [math.nan]}, "cursor['a'][0] is not finite"),
        ({"a": -math.inf}, "cursor['a'] is not finite"),
        ({"a": "secret\ud800"}, "cursor['a'] has a surrogate"),
        ({"a": {"\udfff": 1}}, "a key of cursor['a'] has a surrogate"),
        ({"a": 1 << 2048}, "cursor['a'] is a number of more than 2,048 bits"),
        ({"a": "secret" * 2730}, "may have 16,384"),
        ({"a": "\u20ac" * 5461}, "may have 16,384"),  # Three bytes each.
        ({"a": "\x00" * 5000}, "may have 16,384"),  # Six bytes each in JSON.
        ({"a": [0] * 16_384}, "may have 16,384"),
        ({"a" * 20_000: 1}, "may have 16,384"),
    ],
)
def test_values_that_json_cannot_hold_are_refused(cursor: object, place: str) -> None:
    """Impossible values are refused by their place, without the value."""
    with pytest.raises(InvalidValueError) as caught:
        encode_cursor(cursor)
    assert place in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_cursor_may_have_just_so_many_bytes() -> None:
    """16 KiB are taken, and one byte more is not."""
    spare = len('{"a":""}')
    assert len(encode_cursor({"a": "x" * (MOST_CURSOR_BYTES - spare)})) == MOST_CURSOR_BYTES
    with pytest.raises(InvalidValueError, match=r"16,385 bytes as JSON"):
        encode_cursor({"a": "x" * (MOST_CURSOR_BYTES - spare + 1)})


def test_a_cursor_that_holds_itself_is_refused_soon() -> None:
    """Neither a circle nor a deep nest takes long, or much stack."""
    endless: dict[str, Any] = {}
    endless["all"] = [endless, endless, endless]
    with pytest.raises(CheckpointError):
        encode_cursor(endless)
    deep: dict[str, Any] = {}
    for _ in range(10_000):
        deep = {"in": deep}
    with pytest.raises(InvalidValueError, match="nested at most 50 deep"):
        encode_cursor(deep)


def test_the_largest_number_can_be_read_by_every_python() -> None:
    """No limit on digits that Python knows keeps a number from coming back."""
    number = (1 << 2048) - 1
    assert len(str(number)) < 640
    assert decode_cursor(encode_cursor({"a": -number})) == {"a": -number}


@pytest.mark.parametrize("text", ["[]", "1", "", "{", json.dumps("a")])
def test_a_text_that_is_no_cursor_is_not_decoded(text: str) -> None:
    """Anything but a dict is an error that the reader passes over."""
    with pytest.raises(ValueError):  # noqa: PT011 - json's own message
        decode_cursor(text)
