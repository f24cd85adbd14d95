"""The digest of a state: equal for equal plain data, in whatever order dicts and sets hold it.

A state becomes a text of ASCII, and the digest is that of the text. The text has the type of each
value, so that 1, 1.0 and True differ, -0.0 and 0.0, bytes and bytearray, a list and a tuple, a set
and a frozenset. NaN equals NaN. Decimal("1.0") and Decimal("1.00") differ. Values that are shared
equal copies of them.

Plain data is: None, bool, int, float, complex, str, bytes, bytearray, range, the classes of
`datetime` (with a fixed offset, or the name of a zone), Decimal, Fraction, UUID and paths, in
dicts, lists, tuples, sets and frozensets. Subclasses are not, enums among them, nor are arrays and
scalars of numpy. Values that hold themselves, or are nested more than 100 levels deep, count as
other values. An other value is known by its type and its pickle, or where it has none by its type
alone. Two pickles of equal values may differ, so that a second digest is for them.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint._snapshot.pickling.serializer import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed import ReadableBuffer as Buffer

__all__ = ["StateDigest", "digest_state", "first_other", "is_flat"]

_TEXT = frozenset({str})
_SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray})
_PLAIN_CLASSES = {
    **dict.fromkeys(("date", "datetime", "time", "timedelta", "timezone"), "datetime"),
    **dict.fromkeys(("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"), "pathlib"),
    "Decimal": "decimal",
    "Fraction": "fractions",
    "UUID": "uuid",
    "range": "builtins",
}
"""Modules of classes whose `ascii` is exact. By name: few programs have imported all of them."""

_BRACKETS: dict[type, tuple[str, str]] = {
    dict: ("{", "}"),
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("set(", ")"),
    frozenset: ("frozenset(", ")"),
}
_ORDERED = frozenset({dict, list, tuple})
_ITEMS = 16
_SHORT = 600
"""The longest text that `ascii` makes of some values at once, and that a container has inside of
its own container. A longer container is there by its digest."""
_SHORT_BITS = 2_100
"""Integers up to this size have decimal digits. A program may limit these to 640."""
_SHORT_TEXT = 4_096
_PIECE = 1 << 16
_DEEPEST = 100


class StateDigest(NamedTuple):
    """The digests of a state, 32 bytes each.

    Attributes:
        plain: Of its plain data.
        whole: Of all its values. None where all of them are plain.
    """

    plain: bytes
    whole: bytes | None


def digest_state(state: dict[str, Any]) -> StateDigest:
    """Digest a state. Other values than plain ones are pickled, which runs their own code."""
    text = _small_text(state)
    if text is not None:  # The same as below, in a third of the time.
        return StateDigest(hashlib.sha256(f"{text[1:-1]}, ".encode()).digest(), None)
    encoder = _Encoder(pickles=False)
    plain = encoder.digest(state)
    whole = _Encoder(pickles=True).digest(state) if encoder.other is not None else None
    return StateDigest(plain, whole)


def is_flat(state: dict[str, Any]) -> bool:
    """Whether a state is known at once to be plain data: it is small, and all its parts are."""
    return _small_text(state) is not None


def first_other(state: dict[str, Any]) -> tuple[object, type] | None:
    """Find a key whose value is or holds something else than plain data, and the type of that."""
    for key, value in state.items():
        encoder = _Encoder(pickles=False)
        encoder.digest({key: value})
        if encoder.other is not None:
            return key, encoder.other
    return None


_Measured = tuple[str, int]
"""The text of a value, and the number of its levels."""


def _small_text(state: dict[str, Any]) -> str | None:
    """The text of a state of a few scalars and flat containers, None for any other."""
    if len(state) > _ITEMS or not _TEXT.issuperset(map(type, state)):
        return None
    flat = _flattened(state, sorted(state))
    return None if flat is None else _ascii(flat)


class _NotPlainError(Exception):
    """A value holds itself, or is nested too deeply."""


class _Hashed:
    """Collects the text of a container, and hashes it piece by piece."""

    __slots__ = ("_hash", "_is_hashed", "_length", "_parts")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._hash = hashlib.sha256()
        self._is_hashed = False

    def add(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)
        if self._length >= _PIECE:
            self._flush()

    def _flush(self) -> None:
        self._hash.update(", ".join([*self._parts, ""]).encode())
        self._parts, self._length, self._is_hashed = [], 0, True

    def digest(self) -> bytes:
        self._flush()
        return self._hash.digest()

    def text(self) -> str:
        """The collected text itself where it is short, else its digest."""
        if not self._is_hashed and len(text := ", ".join(self._parts)) <= _SHORT:
            return text
        return f"#{self.digest().hex()}"


class _Encoder:
    """Makes the text of a state.

    Args:
        pickles: Whether the text has the digests of pickles of other values.

    Attributes:
        other: Type of the first value that is no plain data, or None.
    """

    def __init__(self, *, pickles: bool) -> None:
        self.other: type | None = None
        self._pickles = pickles
        self._known: dict[int, _Measured] = {}
        self._open: set[int] = set()

    def digest(self, state: dict[str, Any]) -> bytes:
        """The digest of a whole state."""
        hashed, self._open = _Hashed(), {id(state)}
        for text, _ in self._entries(state, self._top):
            hashed.add(text)
        return hashed.digest()

    def _top(self, value: object) -> _Measured:
        """The text of a value of the state itself."""
        inside = self._open
        try:
            return self._measured(value)
        except _NotPlainError:
            self._open = set(inside)
            return self._other(value)

    def _measured(self, value: Any) -> _Measured:  # noqa: ANN401
        """The text of a value, and how many levels it has."""
        kind = type(value)
        if kind in _SCALARS:
            return _scalar(value), 0
        if kind in _BRACKETS and len(self._open) > _DEEPEST:
            raise _NotPlainError
        flat = _flat(kind, value)
        if flat is not None and (text := _ascii(flat)) is not None:
            return text, 1
        parts = self._parts(kind, value)
        if parts is None:
            return (ascii(value), 0) if _is_plain(kind, value) else self._other(value)
        known = self._known.get(id(value))
        if known is None:
            known = self._container(kind, value, parts)
            self._known[id(value)] = known
        elif len(self._open) + known[1] > _DEEPEST + 1:
            raise _NotPlainError
        return known

    def _parts(self, kind: type, value: Any) -> Iterator[_Measured] | None:  # noqa: ANN401
        """The texts of the parts of a container. None for other values."""
        if kind is dict:
            return self._entries(value, self._measured)
        if kind is list or kind is tuple:
            return self._elements(value)
        return self._members(value) if kind is set or kind is frozenset else None

    def _container(
        self,
        kind: type,
        value: Any,  # noqa: ANN401
        parts: Iterator[_Measured],
    ) -> _Measured:
        if id(value) in self._open:
            raise _NotPlainError
        self._open.add(id(value))
        hashed, height = _Hashed(), 0
        for text, levels in parts:
            hashed.add(text)
            height = max(height, levels)
        self._open.remove(id(value))
        begin, end = _BRACKETS[kind]
        text = hashed.text()
        return f"{begin}{text}{',' if kind is tuple and len(value) == 1 else ''}{end}", height + 1

    def _elements(self, values: list[object] | tuple[object, ...]) -> Iterator[_Measured]:
        for begin in range(0, len(values), _ITEMS):
            some = values[begin : begin + _ITEMS]
            text = _ascii(list(some)) if _SCALARS.issuperset(map(type, some)) else None
            if text is None:
                yield from map(self._measured, some)
            else:
                yield text[1:-1], 0

    def _members(self, values: set[object] | frozenset[object]) -> Iterator[_Measured]:
        return iter(sorted(map(self._measured, values)))

    def _entries(
        self, entries: dict[Any, Any], measured: Callable[[object], _Measured]
    ) -> Iterator[_Measured]:
        if not _TEXT.issuperset(map(type, entries)):
            yield from sorted(self._entry(key, entries[key], measured) for key in entries)
            return
        keys = sorted(entries)
        for begin in range(0, len(keys), _ITEMS):
            some = {key: entries[key] for key in keys[begin : begin + _ITEMS]}
            flat = _flattened(some, some) if len(self._open) <= _DEEPEST else None
            text = None if flat is None else _ascii(flat)
            if text is None:
                yield from (self._entry(key, some[key], measured) for key in some)
            else:
                yield text[1:-1], 1

    def _entry(
        self, key: object, value: object, measured: Callable[[object], _Measured]
    ) -> _Measured:
        (name, levels), (text, height) = measured(key), measured(value)
        return f"{name}: {text}", max(levels, height)

    def _other(self, value: object) -> _Measured:
        kind = type(value)
        self.other = self.other or kind
        if not self._pickles:
            return "~", 0
        return f"<{kind.__module__}.{kind.__qualname__} {_pickled(value)}>", 0


def _flattened(entries: dict[str, Any], keys: Iterable[str]) -> dict[str, Any] | None:
    """The entries of these keys, where each is a scalar or a flat container, else None."""
    flat: dict[str, Any] = {}
    for key in keys:
        flat[key] = value = entries[key]
        kind = type(value)
        if kind not in _SCALARS:
            flat[key] = inner = _flat(kind, value)
            if inner is None:
                return None
    return flat


def _flat(kind: type, value: Any) -> Any:  # noqa: ANN401 - a container of any kind
    """A small container of scalars, a dict in the order of its keys. None for any other value."""
    if kind not in _ORDERED or len(value) > _ITEMS:
        return None
    if kind is not dict:
        return value if _SCALARS.issuperset(map(type, value)) else None
    if not _TEXT.issuperset(map(type, value)):
        return None
    flat: dict[str, Any] = {}
    for key in sorted(value):
        flat[key] = inner = value[key]
        if type(inner) not in _SCALARS:
            return None
    return flat


def _ascii(container: object) -> str | None:
    """The text of a container of scalars and flat containers, or None where it is long."""
    try:
        text = ascii(container)
    except ValueError:  # An integer has too many digits.
        return None
    return text if len(text) <= _SHORT else None


def _scalar(value: Any) -> str:  # noqa: ANN401
    kind = type(value)
    if kind is int:
        return ascii(value) if value.bit_length() <= _SHORT_BITS else hex(value)
    if kind is str and len(value) > _SHORT_TEXT:
        return f"str#{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()}"
    if (kind is bytes or kind is bytearray) and len(value) > _SHORT_TEXT:
        return f"{kind.__name__}#{hashlib.sha256(value).hexdigest()}"
    return ascii(value)


def _is_plain(kind: type, value: Any) -> bool:  # noqa: ANN401
    """Whether `ascii` of a value tells all of it."""
    module = sys.modules.get(_PLAIN_CLASSES.get(kind.__qualname__, ""))
    if getattr(module, kind.__qualname__, None) is not kind:
        return False
    zone = getattr(value, "tzinfo", None)
    return zone is None or _is_plain(type(zone), zone) or getattr(zone, "key", None) is not None


class _PickleHash:
    """Takes a pickle stream, and hashes it."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, chunk: Buffer, /) -> None:
        self.hash.update(chunk)


def _pickled(value: object) -> str:
    """The digest of the pickle of a value, or nothing where it has none."""
    sink = _PickleHash()
    try:
        pickle.Pickler(sink, PROTOCOL).dump(value)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - a value that cannot be stored is refused when it is stored
        return ""
    return sink.hash.hexdigest()
