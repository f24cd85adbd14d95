"""Sizes and positions read from the opcodes of a pickle, without loading it."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest
import sample_objects
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import ATOMS, KEYS, nested
from streams import dump_whole

from aiocheckpoint._snapshot.keys import POSITION_KEY, is_position
from aiocheckpoint._snapshot.pickling.opcodes import MalformedError
from aiocheckpoint._snapshot.pickling.summary import summarize

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._snapshot.pickling.summary import PickleSummary

PROTOCOLS = range(6)
QUIET = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])


def summary_of(data: bytes) -> PickleSummary:
    """Look at a stream in memory."""
    return summarize(io.BytesIO(data), len(data), POSITION_KEY)


STATES: dict[str, Callable[[], dict[Any, Any]]] = {
    "empty": dict,
    "one": lambda: {"a": 1},
    "many": lambda: {f"key {n}": n for n in range(2500)},
    "nested": lambda: {"a": {"checkpoint_index": 9, "b": [{"c": {1: 2}}]}, "d": ({"e": ()},)},
    "instances": lambda: {
        "a": sample_objects.Point(1, 2),
        "b": sample_objects.OwnDict(c=1),
        "d": 1j,
    },
    "kind of dict": lambda: sample_objects.OwnOrdered(a=1, b=2),
}


@pytest.mark.parametrize("position", [None, 0, 1, 255, 70_000])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", STATES)
def test_position_and_keys(name: str, protocol: int, position: int | None) -> None:
    """In any protocol the end, the keys and the position are found, wherever the position is."""
    state = STATES[name]()
    patched = state if position is None else {**state, "checkpoint_index": position, "last": 1}
    if name == "kind of dict" and position is not None:
        patched = sample_objects.OwnOrdered(patched)
    for data in (pickle.dumps(patched, protocol), dill.dumps(patched, protocol)):
        seen = summary_of(data + b"other bytes")
        assert (seen.end, seen.is_dict, seen.position) == (len(data), True, position)
        assert set(seen.sizes) == {*map(str, patched)} - {"checkpoint_index"}
        assert all(size > 0 for size in seen.sizes.values())
        assert sum(seen.sizes.values()) <= len(data)


@pytest.mark.parametrize("value", [[1], (), "text", None, 5, {1}, 1j, b"x"], ids=repr)
def test_what_is_no_dict(value: object) -> None:
    """A pickle of a dict is distinguished from any other, in any protocol."""
    for protocol in PROTOCOLS:
        assert not summary_of(pickle.dumps(value, protocol)).is_dict


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sizes_are_those_of_the_values(protocol: int) -> None:
    """The size of a value is its share of the stream, with its key."""
    state = {"small": 1, "large": "x" * 100_000, "rows": list(range(3000)), "bytes": bytes(10_000)}
    data = pickle.dumps(state, protocol)
    sizes = summary_of(data).sizes
    assert 0 <= len(data) - sum(sizes.values()) <= 40
    assert list(sizes) == list(state)
    for key, value in state.items():
        alone = len(pickle.dumps(value, protocol))
        assert alone - 30 <= sizes[key] <= alone + 50


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_shared_counts_once(protocol: int) -> None:
    """A value shared by several keys counts for the first. The others only refer to it."""
    shared = ["x" * 10_000]
    sizes = summary_of(pickle.dumps({"a": shared, "b": shared, "c": [shared]}, protocol)).sizes
    assert sizes["a"] > 10_000
    assert sizes["b"] < 30
    assert sizes["c"] < 40


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_keys_of_other_types(protocol: int) -> None:
    """Numbers are shown as text. Other keys, and overlong texts, are summed up together."""
    long = "k" * 5000
    state = {1: "one", -5: 1, None: "x" * 9000, 1.5: "x", (1, 2): "x", long: 1, "": 2, b"b": 3}
    sizes = summary_of(pickle.dumps(state, protocol)).sizes
    assert {"1", "-5", "", "<other>"} <= set(sizes)
    assert sizes["<other>"] > 9000 + 5000 * (protocol > 0)


def test_the_last_position_counts() -> None:
    """If a stream sets the position twice, the last one counts, as in unpickling."""
    data = b"\x80\x04}\x94(\x8c\x10checkpoint_index\x94K\1\x8c\1aK\2h\1K\7u."
    assert summary_of(data).position == pickle.loads(data)["checkpoint_index"] == 7


@pytest.mark.parametrize("value", ["1", 1.5, None, True, [1], -1], ids=repr)
def test_what_is_no_position(value: object) -> None:
    """A position that is no index is neither taken for one nor for none."""
    seen = summary_of(pickle.dumps({"checkpoint_index": value}, 4)).position
    assert seen is not None
    assert not is_position(seen)


@QUIET
@given(st.dictionaries(KEYS, nested(ATOMS), max_size=4), st.sampled_from(PROTOCOLS))
def test_any_state(state: dict[Any, Any], protocol: int) -> None:
    """The stream of any state is scanned to its end, and every text key is found."""
    data = dill.dumps(state, protocol)
    seen = summary_of(data)
    assert (seen.end, seen.is_dict, seen.position) == (len(data), True, None)
    assert {key for key in state if isinstance(key, str)} <= set(seen.sizes)
    assert sum(seen.sizes.values()) <= len(data)


@QUIET
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Random bytes are malformed at an offset within them, or a stream by chance."""
    try:
        end = summary_of(data).end
    except MalformedError as error:
        assert 0 <= error.at <= len(data)  # noqa: PT017 - either is right
    else:
        assert data[end - 1 : end] == b"."


def test_the_offset_is_where_it_breaks() -> None:
    """A truncated stream is malformed at the opcode whose end is missing."""
    data = pickle.dumps({"key": "x" * 50, "list": [1, 2]}, 4)
    offsets = set[int]()
    for length in range(len(data)):
        with pytest.raises(MalformedError) as info:
            summary_of(data[:length])
        assert info.value.at <= length
        offsets.add(info.value.at)
    assert len(offsets) > 10


def test_long_values_are_passed_over() -> None:
    """The scan reads two windows of 16 KiB, and no more of a long value."""
    data = pickle.dumps({"a": b"x" * (1 << 22), "b": "y" * (1 << 22)}, 5)

    class Counting(io.BytesIO):
        read_bytes = 0

        def read(self, size: int | None = -1, /) -> bytes:
            chunk = super().read(size)
            self.read_bytes += len(chunk)
            return chunk

    file = Counting(data)
    assert summarize(file, len(data), POSITION_KEY).end == len(data)
    assert file.read_bytes < 40_000


def test_names_in_any_script() -> None:
    """A class with a non-ASCII name is a class like any other, in protocol 3 as well."""
    data = b"\x80\x03}X\1\0\0\0ac" + "module\nGröße\n".encode() + b"s."
    assert summary_of(data).is_dict


@pytest.mark.parametrize("state", [{"a": lambda: 1}, {"a": sample_objects.Node()}])
def test_code_has_a_size_too(state: dict[str, object]) -> None:
    """Code that dill writes by value is scanned like the rest."""
    data = dump_whole(state).data
    assert summary_of(data).end == len(data)
    assert summary_of(data).sizes["a"] > 20
