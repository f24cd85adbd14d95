"""The objects of a stream that is vetted: kind, depth and weight of each, and the work of its keys.

All of them are kept in arrays, at most 16 bytes for each byte of a stream.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Final

from aiocheckpoint._snapshot.pickling.opcodes import atom_at, typecode_of

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["MAX_DEPTH", "MAX_KEY_DEPTH", "NOTHING", "BeyondBoundsError", "Kind", "Objects"]

MAX_DEPTH = 5000
"""The most levels of a stream's objects. Hashing a tuple takes 64 bytes of C stack for a level."""
MAX_KEY_DEPTH = 100
"""The most levels of a key of a dict, or of a member of a set."""
NOTHING: Final = -1
"""The complement of the number 0, which no object has."""

_SPARE_WORK, _WORK_PER_BYTE = 10_000_000, 64
"""The work that a stream may cause. A unit is about one comparison of numbers, 20 ns."""
_FIRST_HASH = 50
"""The work of finding out a hash here, for each part of a key."""
_BUCKETS = 1 << 16
_PIECE = 1 << 10
_NO_HASH: Final = -1


class BeyondBoundsError(Exception):
    """Loading a stream would take more depth or time than that of any sound state."""


class Kind:
    """Kinds of objects."""

    GLOBAL: Final = 0
    MADE: Final = 1
    """The result of a call."""
    FRESH: Final = 2
    """A list or set."""
    DICT: Final = 3
    """A dict whose keys are small atoms."""
    OTHER_DICT: Final = 4
    TUPLE: Final = 5
    FROZENSET: Final = 6
    TEXT: Final = 7
    """A long text or long bytes."""
    NUMBER: Final = 8
    """A large integer."""


_CHOSEN_HASH = frozenset({Kind.TUPLE, Kind.FROZENSET, Kind.NUMBER})
"""Kinds with a hash that the writer of a stream can choose. Those of texts are random."""


class Objects:
    """The objects of a stream.

    A code is the offset of a small atom, or the complement of the number of an object.

    Args:
        file: The stream.
        size: Its size in bytes.

    Attributes:
        kinds: The kind of each object, by its number.
        refs: Of a call, its number among the makers. Of a tuple or frozenset, where its parts are.
            Of a long atom, its offset.
        parts: The codes of the parts of tuples and frozensets, each behind a hash and a count.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        code = typecode_of(size)
        self.kinds, self._depths, self._weights = array("B", [0]), array("H", [0]), array("f", [0])
        self.refs, self.parts = array(code, [0]), array(code)
        self._work: float = _SPARE_WORK + _WORK_PER_BYTE * size
        self._same_hash = array("I")  # Keys by bucket, once there is one with such a hash.

    def add(self, kind: int, ref: int, depth: int, weight: float) -> int:
        """Add an object, and give its code."""
        if depth > MAX_DEPTH:
            raise BeyondBoundsError(f"it is nested more than {MAX_DEPTH} levels deep")
        self.kinds.append(kind)
        self.refs.append(ref)
        self._depths.append(depth)
        self._weights.append(weight)
        return -len(self.kinds)

    def add_group(self, kind: int, codes: array[int]) -> int:
        """Add a tuple or frozenset of these parts, and give its code."""
        depth, weight = self.measure(codes)
        ref = len(self.parts)
        self.parts.extend((_NO_HASH, len(codes)))
        for begin in range(0, len(codes), _PIECE):
            # An array that is extended by an array has no spare room, and is copied each time.
            self.parts.extend(codes[begin : begin + _PIECE].tolist())
        return self.add(kind, ref, depth + 1, weight + 1)

    def put_into(self, number: int, codes: array[int]) -> None:
        """Note that values were put into an object."""
        depth, weight = self.measure(codes)
        if depth >= MAX_DEPTH:
            raise BeyondBoundsError(f"it is nested more than {MAX_DEPTH} levels deep")
        if depth >= self._depths[number]:
            self._depths[number] = depth + 1
        self._weights[number] += weight

    def put_atoms_into(self, number: int, count: int) -> None:
        """Note that so many small atoms were put into an object that may hold others."""
        self._weights[number] += count

    def measure(self, codes: array[int]) -> tuple[int, float]:
        """The depth of the deepest of these values, and the sum of their weights."""
        depth, weight = 0, float(len(codes))
        if codes and min(codes) < 0:
            for code in codes:
                if code < 0:
                    depth = max(depth, self._depths[~code])
                    weight += self._weights[~code]
        return depth, weight

    def note_keys(self, number: int, keys: array[int]) -> None:
        """Count the work of putting keys into a dict or set."""
        if keys and min(keys) < 0:
            for key in keys:
                if key < 0:
                    self._note_key(number, ~key)

    def _note_key(self, number: int, key: int) -> None:
        if self._depths[key] > MAX_KEY_DEPTH:
            raise BeyondBoundsError(f"a key in it is nested more than {MAX_KEY_DEPTH} levels deep")
        times = 1
        if self.kinds[key] in _CHOSEN_HASH:
            if not self._same_hash:
                self._same_hash.frombytes(bytes(_BUCKETS * self._same_hash.itemsize))
            bucket = hash((number, self._hash(key))) % _BUCKETS
            self._same_hash[bucket] += 1
            times = self._same_hash[bucket]
        self._spend(self._weights[key] * times)

    def _spend(self, work: float) -> None:
        self._work -= work
        if not self._work >= 0:
            raise BeyondBoundsError("its keys take too long to compare or to hash")

    def _hash(self, number: int) -> int:
        ref = self.refs[number]
        known = _NO_HASH if self.kinds[number] == Kind.NUMBER else self.parts[ref]
        if known != _NO_HASH:
            return known
        self._spend(self._weights[number] * _FIRST_HASH)
        found = hash(self._value(~number)) & 0x7FFFFFFF
        if self.kinds[number] != Kind.NUMBER:
            self.parts[ref] = found
        return found

    def _value(self, code: int) -> Any:  # noqa: ANN401 - a value of the stream
        """The value of a code, where an object of another kind is replaced by its number."""
        number = ~code
        if code >= 0:
            return atom_at(self._file, code, self._size)
        kind, ref = self.kinds[number], self.refs[number]
        if kind in {Kind.TEXT, Kind.NUMBER}:
            return atom_at(self._file, ref, self._size)
        if kind not in _CHOSEN_HASH:
            return Kind, number
        parts = map(self._value, self.parts[ref + 2 : ref + 2 + self.parts[ref + 1]])
        return frozenset(parts) if kind == Kind.FROZENSET else tuple(parts)
