"""States to serialise, in a module of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = [
    "Reading",
    "dataclasses_of",
    "datetimes",
    "dicts",
    "small_state",
    "values",
    "with_lambda",
]

_START = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)


@dataclass
class Reading:
    """One line of a log.

    Attributes:
        sensor: Number of the sensor.
        place: Name of the place.
        celsius: Degrees.
    """

    sensor: int
    place: str
    celsius: float


def small_state() -> dict[str, Any]:
    """Give the state that is snapshotted after a step: ten plain values."""
    return {
        "count": 0,
        "name": "survey of the year",
        "city": "Utrecht",
        "ratio": 0.125,
        "done": False,
        "missing": None,
        "limits": [1, 10, 100],
        "sizes": {"small": 3, "large": 12},
        "tags": ["red", "green"],
        "checked_until": "2024-02-29",
    }


def dicts(count: int) -> dict[str, Any]:
    """Give a state of so many dicts of three plain values each."""
    return {"rows": [{"id": n, "name": f"item {n}", "weight": n / 8} for n in range(count)]}


def values(count: int) -> dict[str, Any]:
    """Give a state of so many strings, numbers and short tuples, each a fourth of them."""
    kinds = (lambda n: n, lambda n: f"item {n}", lambda n: n / 8, lambda n: (n, n + 1))
    return {"values": [kinds[n % 4](n) for n in range(count)]}


def datetimes(count: int) -> dict[str, Any]:
    """Give a state of so many datetimes with a time zone."""
    return {"times": [_START + timedelta(minutes=n) for n in range(count)]}


def dataclasses_of(count: int) -> dict[str, Any]:
    """Give a state of so many instances of a dataclass."""
    return {"readings": [Reading(n, f"place {n % 100}", n / 8) for n in range(count)]}


def with_lambda(count: int) -> dict[str, Any]:
    """Give a state of so many dicts as in `dicts`, and one lambda, which only dill can write."""
    return dicts(count) | {"double": lambda n: 2 * n}
