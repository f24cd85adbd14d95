r"""Inert trees as plain JSON. Whatever JSON lacks is a dict with marks, whose names begin with "$".

| value | JSON |
|---|---|
| None, bool, float, text, integer of up to 53 bits | itself |
| other integer, nan, inf | `{"$type": "int", "$value": "36893488147419103232"}` |
| complex | `{"$type": "complex", "$value": "(1+2j)"}` |
| text with lone surrogates | `{"$type": "str", "$value": "'\\ud800'", "$escaped": true}` |
| bytes, bytearray | `{"$type": "bytes", "$size": 2, "$base64": "AAE="}` |
| list | array |
| tuple, set, frozenset | `{"$type": "tuple", "$items": [1, 2]}` |
| dict whose keys are texts without "$" in front | object |
| any other dict | `{"$type": "dict", "$items": [[1, "one"]]}` |
| well-known object | `{"$type": "datetime.date", "$value": "2026-11-30"}` |
| array | `{"$type": "numpy.ndarray", "$dtype": "<f8", "$shape": [2, 3]}` |
| other object | `{"$type": "shop.Place"}`, with `$args`, `$state`, `$items`, `$entries` if given |
| class or function by name | `{"$global": "shop.Place"}` |
| persistent id | `{"$type": "persistent id", "$args": [7]}` |
| text, bytes or integer that is too long to be read | `{"$type": "str", "$size": 90000000}` |
| container that holds itself | `{"$type": "list", "$cycle": 2}`: the one 2 levels further out |
| what is left out | `{"$cut": 7}`, in a list, dict or mark: so many items or characters more |
"""

from __future__ import annotations

import binascii
import math
from typing import TYPE_CHECKING, Any, Final

from aiocheckpoint._snapshot.pickling.inert_known import recognize, type_name
from aiocheckpoint._snapshot.pickling.inert_values import DEFAULT, MISSING, Placeholder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiocheckpoint._snapshot.pickling.inert_values import InertBounds

__all__ = ["to_json"]

_SAFE = (1 << 53) - 1
_LONGEST_NUMBER = 2_000
_PARTS = ("args", "state", "items")
_TEXTS = (str, bytes, bytearray)
_LETTERS: Final = 100
"""So many characters of a text count as one value more."""


def to_json(tree: Any, bounds: InertBounds = DEFAULT) -> Any:  # noqa: ANN401
    """A value as plain JSON, with the marks of this module."""
    return _Json(bounds).value(tree)


class _Json:
    def __init__(self, bounds: InertBounds) -> None:
        self._depth, self._left, self._longest = bounds.depth, bounds.shown, bounds.shown_text
        self._open: list[int] = []

    def value(self, tree: Any) -> Any:  # noqa: ANN401
        self._left -= 1
        atom = _ATOMS.get(type(tree))
        if atom is not None:
            shown = atom(tree, self._longest)
            if type(tree) in _TEXTS:
                self._left -= min(len(tree), self._longest) // _LETTERS
            elif type(tree) is int:
                self._left -= min(tree.bit_length() >> 2, self._longest) // _LETTERS
            return shown
        if id(tree) in self._open:
            levels = len(self._open) - self._open.index(id(tree))
            return {"$type": type_name(tree), "$cycle": levels}
        if len(self._open) >= self._depth:
            return self._closed(tree)
        self._open.append(id(tree))
        shown = self._container(tree)
        self._open.pop()
        return shown

    def _closed(self, tree: Any) -> dict[str, Any]:  # noqa: ANN401
        """A container that is too deep."""
        size = 1 if isinstance(tree, Placeholder) else len(tree)
        return {"$type": type_name(tree), "$cut": size}

    def _container(self, tree: Any) -> Any:  # noqa: ANN401
        kind = type(tree)
        if kind is list:
            return self._items(tree)
        if kind is dict:
            return self._dict(tree)
        if isinstance(tree, Placeholder):
            return self._placeholder(tree)
        items = tree if kind is tuple else sorted(tree, key=_order)
        return {"$type": kind.__name__, "$items": self._items(items)}

    def _items(self, items: Any) -> list[Any]:  # noqa: ANN401
        shown: list[Any] = []
        for item in items:
            if self._left <= 0:
                return [*shown, {"$cut": len(items) - len(shown)}]
            shown.append(self.value(item))
        return shown

    def _dict(self, entries: dict[Any, Any]) -> dict[str, Any]:
        if not all(map(self._is_plain_key, entries)):
            return {"$type": "dict", "$items": self._pairs(entries.items(), len(entries))}
        shown: dict[str, Any] = {}
        for key, value in entries.items():
            if self._left <= 0:
                return {**shown, "$cut": len(entries) - len(shown)}
            shown[key] = self.value(value)
        return shown

    def _is_plain_key(self, key: Any) -> bool:  # noqa: ANN401
        return (
            type(key) is str
            and not key.startswith("$")
            and len(key) <= self._longest
            and not _has_surrogates(key)
        )

    def _pairs(self, pairs: Iterable[tuple[Any, Any]], count: int) -> list[Any]:
        shown: list[Any] = []
        for key, value in pairs:
            if self._left <= 0:
                return [*shown, {"$cut": count - len(shown)}]
            shown.append([self.value(key), self.value(value)])
        return shown

    def _placeholder(self, found: Placeholder) -> dict[str, Any]:
        self._left -= len(found.type) // _LETTERS
        if found.kind == "global":
            shown = {"$global": found.type}
            return shown if found.state is MISSING else shown | {"$state": self._part(found.state)}
        if found.kind == "large":
            return {"$type": found.type, "$size": found.size}
        known = recognize(found)
        if known is not None:
            facts = {f"${name}": self.value(fact) for name, fact in known.facts.items()}
            return {"$type": known.type, **facts}
        return self._object(found)

    def _object(self, found: Placeholder) -> dict[str, Any]:
        shown: dict[str, Any] = {"$type": found.type}
        for name in _PARTS:
            part = getattr(found, name)
            if part is not MISSING and (name != "args" or part):
                shown[f"${name}"] = self._part(part)
        if found.entries is not MISSING:
            shown["$entries"] = self._pairs(found.entries, len(found.entries))
        return shown

    def _part(self, part: Any) -> Any:  # noqa: ANN401
        """A part of an object. Its arguments are a list."""
        return self._items(part) if type(part) in (tuple, list) else self.value(part)


def _order(value: Any) -> tuple[str, int, str]:  # noqa: ANN401
    """A sort key for members of sets: by their types, then by their numbers or texts."""
    kind = type(value)
    if kind is int:
        return kind.__name__, value, ""
    if isinstance(value, Placeholder):  # Its text would take long, and only some are shown.
        return value.type, 0, ""
    return type_name(value), 0, ascii(value) if kind in _ATOMS else ""


def _has_surrogates(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _integer(value: int, longest: int) -> Any:  # noqa: ANN401
    if -_SAFE <= value <= _SAFE:
        return value
    size = value.bit_length()
    if size <= _LONGEST_NUMBER:
        return {"$type": "int", "$value": str(value)}
    sign, digits = "-0x" if value < 0 else "0x", (size + 3) // 4
    cut = len(sign) + digits - longest
    if cut <= 0:
        return {"$type": "int", "$value": hex(value)}
    first = abs(value) >> 4 * max(0, digits - longest)  # No digits are made only to be left out.
    return {"$type": "int", "$value": f"{sign}{first:x}"[:longest], "$cut": cut}


def _float(value: float, _: int) -> Any:  # noqa: ANN401
    return value if math.isfinite(value) else {"$type": "float", "$value": repr(value)}


def _text(value: str, longest: int) -> Any:  # noqa: ANN401
    shown = value[:longest]
    cut = {} if len(value) <= longest else {"$cut": len(value) - longest}
    if _has_surrogates(shown):
        return {"$type": "str", "$value": ascii(shown), "$escaped": True, **cut}
    return {"$type": "str", "$value": shown, **cut} if cut else value


def _bytes(value: bytes | bytearray, longest: int) -> dict[str, Any]:
    cut = {} if len(value) <= longest else {"$cut": len(value) - longest}
    content = binascii.b2a_base64(value[:longest], newline=False).decode()
    return {"$type": type(value).__name__, "$size": len(value), "$base64": content, **cut}


def _complex(value: complex, _: int) -> dict[str, Any]:
    return {"$type": "complex", "$value": repr(value)}


def _same(value: Any, _: int) -> Any:  # noqa: ANN401
    return value


_ATOMS: dict[type, Callable[[Any, int], Any]] = {
    type(None): _same,
    bool: _same,
    int: _integer,
    float: _float,
    complex: _complex,
    str: _text,
    bytes: _bytes,
    bytearray: _bytes,
}
