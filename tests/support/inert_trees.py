"""Decode streams in memory without executing them, and compare plain values."""

from __future__ import annotations

import io
from typing import Any

from aiocheckpoint._snapshot.pickling.inert import Inert, InertBounds, decode_inert

__all__ = ["decoded", "decoded_value", "is_same", "stream_of"]

PATIENT = InertBounds(seconds=600)
"""Bounds without a time that a busy machine reaches."""


def decoded(data: bytes, bounds: InertBounds = PATIENT) -> Inert:
    """Decode a stream."""
    return decode_inert(io.BytesIO(data), bounds)


def stream_of(value: bytes, key: bytes = b"\x8c\x01k") -> bytes:
    """Give the stream of a dict with one key, from the opcodes of its value."""
    return b"\x80\x05}" + key + value + b"s."


def decoded_value(value: bytes, bounds: InertBounds = PATIENT) -> Any:  # noqa: ANN401
    """Decode the opcodes of one value."""
    (found,) = decoded(stream_of(value), bounds).keys
    return found.tree


def is_same(one: Any, other: Any) -> bool:  # noqa: ANN401
    """Whether two plain values are equal and of the same types all through. NaN is NaN."""
    return _Same().is_same(one, other)


class _Same:
    """Compares two values that may hold themselves."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def is_same(self, one: Any, other: Any) -> bool:  # noqa: ANN401
        if type(one) is not type(other):
            return False
        if isinstance(one, (dict, list, tuple)):
            if (id(one), id(other)) in self._seen:
                return True
            self._seen.add((id(one), id(other)))
            parts = ([*each.items()] if isinstance(each, dict) else each for each in (one, other))
            return len(one) == len(other) and all(map(self.is_same, *parts))
        if isinstance(one, (set, frozenset)):
            return one == other and sorted(map(repr, one)) == sorted(map(repr, other))
        if isinstance(one, (int, str)):
            return bool(one == other)
        return repr(one) == repr(other)
