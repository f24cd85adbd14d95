"""Objects of well-known types, and of classes of a user, with what the inert decoder shows."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import pathlib
import pickle
import uuid
import zoneinfo
from typing import Any

import dill  # type: ignore[import-untyped]
import numpy as np

__all__ = ["KNOWN", "OBJECTS", "Colour", "Order", "streams"]


class Colour(enum.Enum):
    """An enum."""

    RED = "red"


@dataclasses.dataclass
class Order:
    """A dataclass."""

    number: int
    lines: list[Any] = dataclasses.field(default_factory=list[Any])


class Basket(list[int]):
    """A list with attributes."""

    owner = ""


def _value(kind: str, text: str) -> dict[str, Any]:
    return {"$type": kind, "$value": text}


KNOWN: dict[str, tuple[Any, dict[str, Any]]] = {
    "datetime": (
        dt.datetime(2026, 11, 30, 10, 44, 50, 125),  # noqa: DTZ001 - one without a zone
        _value("datetime.datetime", "2026-11-30T10:44:50.000125"),
    ),
    "datetime in UTC": (
        dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        _value("datetime.datetime", "2026-01-02T00:00:00+00:00"),
    ),
    "datetime in a zone": (
        dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        _value("datetime.datetime", "2026-10-25T02:30:00[Europe/Berlin] fold=1"),
    ),
    "date": (dt.date(1, 1, 1), _value("datetime.date", "0001-01-01")),
    "time": (dt.time(23, 59, fold=1), _value("datetime.time", "23:59:00 fold=1")),
    "timedelta": (dt.timedelta(-1, 5), _value("datetime.timedelta", "-1 day, 0:00:05")),
    "timezone": (
        dt.timezone(dt.timedelta(hours=5, minutes=-30), "here"),
        _value("datetime.timezone", "+04:30[here]"),
    ),
    "zone": (zoneinfo.ZoneInfo("UTC"), _value("zoneinfo.ZoneInfo", "UTC")),
    "Decimal": (decimal.Decimal("-1.50"), _value("decimal.Decimal", "-1.50")),
    "Fraction": (fractions.Fraction(-1, 3), _value("fractions.Fraction", "-1/3")),
    "UUID": (
        uuid.UUID("12345678-1234-5678-9abc-123456789abc"),
        _value("uuid.UUID", "12345678-1234-5678-9abc-123456789abc"),
    ),
    "path": (pathlib.PurePosixPath("/a/b c"), _value("pathlib.PurePosixPath", "/a/b c")),
    "relative path": (pathlib.PurePosixPath("a/b"), _value("pathlib.PurePosixPath", "a/b")),
    "empty path": (pathlib.PurePosixPath(), _value("pathlib.PurePosixPath", ".")),
    "Windows path": (
        pathlib.PureWindowsPath("C:\\a\\b"),
        _value("pathlib.PureWindowsPath", "C:\\a\\b"),
    ),
    "range": (range(1, 9, 2), _value("range", "1, 9, 2")),
    "slice": (slice(None, 5), _value("slice", "None, 5, None")),
    "array": (
        np.ones((2, 3)),
        {"$type": "numpy.ndarray", "$dtype": "<f8", "$shape": [2, 3]},
    ),
    "array by columns": (
        np.asfortranarray(np.ones((2, 3), "i4")),
        {"$type": "numpy.ndarray", "$dtype": "<i4", "$shape": [2, 3]},
    ),
    "array of texts": (
        np.array(["a", None], object),
        {"$type": "numpy.ndarray", "$dtype": "O8", "$shape": [2]},
    ),
    "array of records": (
        np.zeros(2, "f4,i8"),
        {"$type": "numpy.ndarray", "$dtype": "V12", "$shape": [2]},
    ),
    "empty array": (
        np.zeros((0, 4), "c16"),
        {"$type": "numpy.ndarray", "$dtype": "<c16", "$shape": [0, 4]},
    ),
    "float64": (np.float64(1.5), {"$type": "numpy.float64", "$dtype": "<f8", "$value": "1.5"}),
    "int8": (np.int8(-3), {"$type": "numpy.int8", "$dtype": "i1", "$value": "-3"}),
    "bool": (np.bool_(1), {"$type": "numpy.bool", "$dtype": "b1", "$value": "True"}),
    "datetime64": (
        np.datetime64("2020-01-01"),
        {"$type": "numpy.datetime64", "$dtype": "<M8"},
    ),
}
"""Well-known objects and their JSON."""

OBJECTS: dict[str, Any] = {
    "enum": Colour.RED,
    "dataclass": Order(1, [Order(2)]),
    "list": Basket([1, 2]),
    "ordered dict": collections.OrderedDict(a=1, b=2),
    "default dict": collections.defaultdict(list, a=[1]),
    "counter": collections.Counter("aab"),
    "deque": collections.deque([1, 2], 5),
    "class": Order,
    "function": len,
    "exception": ValueError("a", 1),
    "error": OSError(2, "gone"),
}
"""Objects that are shown by the parts of their pickles."""


def streams() -> list[bytes]:
    """Pickle all of them in all ways."""
    state = {name: value for name, (value, _) in KNOWN.items()} | OBJECTS
    return [
        *(pickle.dumps(state, protocol) for protocol in range(6)),
        *(dill.dumps(state, protocol) for protocol in range(6)),
    ]
