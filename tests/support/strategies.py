"""Hypothesis strategies of atoms, keys and nested containers that a state may hold."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import pathlib
import re
import uuid
from typing import Any

import sample_objects
from hypothesis import strategies as st

TIMES = st.one_of(
    st.datetimes(timezones=st.just(dt.UTC) | st.just(sample_objects.ZONE) | st.none()),
    st.dates(),
    st.times(),
    st.timedeltas(),
)
HASHABLE = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
    st.integers(-(2**70), 2**70),
    st.text(st.characters(), max_size=5) | st.binary(max_size=5),
    st.tuples(st.integers(), st.text(max_size=3)),
    st.frozensets(st.integers(), max_size=3),
    TIMES,
    st.decimals(allow_nan=False) | st.fractions() | st.uuids(),
    st.sampled_from(
        [
            sample_objects.Colour.RED,
            sample_objects.Rights.READ,
            sample_objects.Frozen(1),
            sample_objects.Point(1, 2),
        ]
    ),
)
ATOMS = st.one_of(
    HASHABLE,
    st.complex_numbers() | st.floats(),
    st.binary(max_size=300).map(bytearray),
    st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 3)),
    st.builds(slice, st.integers(), st.integers(), st.none()),
    st.sets(HASHABLE, max_size=3),
    st.sampled_from(
        [
            *(..., NotImplemented, int, list, sample_objects.Node, len, sample_objects.function),
            *(pathlib.PurePosixPath("a"), re.compile("a+"), dt.UTC, str.upper, list[int]),
            *(uuid.UUID(int=3), decimal.Decimal("NaN"), fractions.Fraction(1, 3)),
        ]
    ),
)
KEYS = st.one_of(
    st.text(max_size=3) | st.integers() | st.none() | st.booleans() | st.binary(max_size=3),
    st.tuples(st.integers(), st.text(max_size=3)) | st.frozensets(st.integers(), max_size=2),
)


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Give containers of containers of leaves."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.dictionaries(KEYS, inner, max_size=4),
            st.sets(KEYS, max_size=3) | st.frozensets(KEYS, max_size=3),
        ),
        max_leaves=12,
    )
