"""numpy's arrays and dtypes in the state: plain if possible, and as from dill otherwise."""

from __future__ import annotations

import pickle
from typing import Any

import dill  # type: ignore[import-untyped]
import numpy as np
import pytest
from graphs import difference
from streams import dump_whole, load_by_dill, load_whole


class Tagged(np.ndarray[Any, Any]):
    """An array with an attribute."""

    tag: object = None


def tagged() -> Tagged:
    """Make an array with an attribute of its own."""
    made = np.arange(6.0).view(Tagged)
    made.tag = ["a tag"]
    return made


GRID = np.arange(24, dtype="<i4").reshape(4, 6)

ARRAYS: dict[str, Any] = {
    "plain": GRID,
    "empty": np.zeros((0, 3)),
    "no dimension": np.array(5.0),
    "fortran": np.asfortranarray(GRID),
    "transposed": GRID.T,
    "with steps": GRID[::2, ::-1],
    "big-endian": GRID.astype(">i4"),
    "texts": np.array(["a", "bc"]),
    "times": np.array(["2024-02-29"], dtype="M8[D]"),
    "records": np.array([(1, 2.0)], dtype=[("a", "i2"), ("b", "f8")]),
    "complex": np.array([1j]),
    "scalars": [np.float64(1.5), np.int8(3), np.bool_(1), np.str_("a"), np.datetime64("2024", "Y")],
    "kinds": [np.dtype("f8"), np.dtype([("a", "i2")]), np.float64, type(np.dtype("f8"))],
    "functions": [np.add, np.sin, np.concatenate, np.add.reduce],
}
OTHERS: dict[str, Any] = {
    "of objects": np.array([1, None, [2]], dtype=object),
    "of objects with steps": np.array([[1, None], [[2], "b"]], dtype=object).T,
    "with an attribute": tagged(),
    "records by attribute": np.rec.array([(1, 2.0)], dtype=[("a", "i2"), ("b", "f8")]),
    "masked": np.ma.masked_array([1, 2], mask=[True, False]),
    "generator": np.random.default_rng(1),
}


NATIVE_BY_DILL = {"big-endian"}
"""Whose order of bytes dill changes, and the C pickler keeps."""


@pytest.mark.parametrize("name", [*ARRAYS, *OTHERS])
def test_arrays_come_back_as_with_dill(name: str) -> None:
    """Values, dtypes, shapes and attributes are kept, and one array stays one."""
    value = {**ARRAYS, **OTHERS}[name]
    state = {"v": value, "again": [value]}
    dumped = dump_whole(state)
    loaded = load_whole(dumped.data)
    expected = state if name in NATIVE_BY_DILL else load_by_dill(state)
    assert difference(expected, loaded) is None
    assert loaded["v"] is loaded["again"][0]
    assert dumped.code is False


@pytest.mark.parametrize("name", sorted(set(ARRAYS) - {"functions"}))
@pytest.mark.parametrize("dill_met_arrays", [False, True], ids=["first", "after dill met arrays"])
def test_arrays_are_plain(name: str, *, dill_met_arrays: bool) -> None:
    """Plain arrays are pickled by protocol 5, also if dill has met arrays before."""
    if dill_met_arrays:
        load_by_dill([GRID, tagged(), np.add])
    state = {"v": ARRAYS[name]}
    dumped = dump_whole(state)
    assert dumped.data == pickle.dumps(state, 5)
    assert not dumped.by_dill
    assert difference(load_whole(dumped.data), pickle.loads(dumped.data)) is None


@pytest.mark.parametrize("times", [1, 2])
def test_attributes_of_a_subclass_survive(times: int) -> None:
    """The attributes of an array's subclass are kept, both the first time and the second."""
    for _ in range(times):
        loaded = load_whole(dump_whole({"v": tagged()}).data)["v"]
    assert (type(loaded), loaded.tag, loaded.tolist()) == (Tagged, ["a tag"], list(range(6)))


def test_large_array_is_not_copied_into_small_pieces() -> None:
    """The bytes of a large array are in the stream once, as one block."""
    array = np.arange(300_000, dtype="<f8")
    data = dump_whole({"v": array}).data
    assert array.tobytes() in data
    assert len(data) < array.nbytes + 300


def test_buffers_of_protocol_5() -> None:
    """A PickleBuffer, and a non-contiguous one, load as from dill."""
    buffer = pickle.PickleBuffer(bytearray(b"abc"))
    dumped = dump_whole({"v": buffer})
    assert load_whole(dumped.data) == {"v": bytearray(b"abc")}
    assert dill.loads(dill.dumps({"v": buffer}, protocol=5)) == {"v": bytearray(b"abc")}


def test_array_beside_a_function() -> None:
    """An array shared by a function and the state is one array after loading."""
    array = np.arange(3)
    loaded = load_whole(dump_whole({"v": array, "f": lambda: array}).data)
    assert loaded["f"]() is loaded["v"]
    assert loaded["v"].tolist() == [0, 1, 2]
