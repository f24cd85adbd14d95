"""Canonical texts of inert values that are made without a walk: atoms, and what is small.

A text is ASCII. It tells the types as well, so that 1, 1.0 and True differ. A long text, bytes or
integer is in it by its digest, and so is a container whose own text is long. So a value that is
shared a million times is digested once.
"""

from __future__ import annotations

import hashlib
import pickle
from typing import TYPE_CHECKING, Any, Final

from aiocheckpoint._snapshot.pickling.inert_known import recognize
from aiocheckpoint._snapshot.pickling.inert_values import MISSING, SCALARS, Placeholder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["LETTERS", "SOME", "TEXT", "Texts", "bracketed", "hashed", "parts_of"]

TEXT: Final = frozenset({str})
SOME: Final = 256
"""The number of values that are looked at together."""
LETTERS: Final[dict[type, str]] = {dict: "d", list: "l", tuple: "t", set: "s", frozenset: "f"}
_ATOMS = SCALARS | {bytearray}
_SHORT, _LEVELS = 600, 3


def hashed(text: str) -> str:
    """The digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def bracketed(letter: str, body: str) -> str:
    """The text of a container, from the letter of its type and the texts of what it holds."""
    return f"{letter}[{body}]" if len(body) <= _SHORT else f"{letter}#{hashed(body)}"


def parts_of(found: Placeholder) -> tuple[str, tuple[Any, ...]]:
    """The beginning of the text of an object, and what the rest of the text is made of."""
    known = recognize(found)
    if known is not None:
        return f"{known.type!a} {known.facts!a}", known.content
    head = f"{found.kind} {found.type!a} {found.written_by!a}"
    return head, (found.args, found.state, found.items)


class Texts:
    """Makes the texts of atoms and small containers.

    Args:
        long: Long texts, bytes and integers by their ids.
        check: Is called before each object, and raises where it takes too long.

    Attributes:
        known: The texts of containers by their ids.
    """

    def __init__(self, long: dict[int, object], check: Callable[[], None]) -> None:
        self.known: dict[int, str] = {}
        self._long, self._check = long.keys(), check

    def at_once(self, value: Any, levels: int = _LEVELS) -> str | None:  # noqa: ANN401
        """The text of a value. None where it takes a walk, as it is large, deep or no plain data.

        Args:
            value: An inert tree.
            levels: The number of levels that may be looked at.
        """
        kind = type(value)
        if kind in _ATOMS:
            return self._of_long(value) if self._long and id(value) in self._long else ascii(value)
        text = self.known.get(id(value))
        if text is not None:
            return text
        if kind is Placeholder:
            if value.kind == "large":
                return f"{value.type}#{value.digest}"
            letter, body = "o", self._of_object(value, levels)
        elif len(value) > SOME:
            return None
        elif kind is dict:
            letter, body = "d", self._of_dict(value, levels)
        else:
            letter, body = LETTERS[kind], self._of_others(value, levels)
        if body is not None:
            text = self.known[id(value)] = bracketed(letter, body)
        return text

    def of_part(self, part: Any, levels: int = _LEVELS) -> str | None:  # noqa: ANN401
        """The text of a part of an object. None where it takes a walk.

        Bytes are known by their digest, of whatever type: an array may be written with either.
        """
        if part is MISSING:
            return "-"
        if type(part) in (bytes, bytearray):
            return f"#{hashlib.sha256(part).hexdigest()}"
        if isinstance(part, Placeholder) and part.kind == "large" and part.type != "int":
            return f"#{part.digest}"
        return self.at_once(part, levels)

    def are_short(self, values: Iterable[Any]) -> bool:
        """Whether all are atoms, and none is long."""
        return SCALARS.issuperset(map(type, values)) and (
            not self._long or self._long.isdisjoint(map(id, values))
        )

    def _of_object(self, found: Placeholder, levels: int) -> str | None:
        self._check()
        text, parts = parts_of(found)
        if (parts and not levels) or found.entries is not MISSING:
            return None
        texts: list[str] = [text]
        for part in parts:
            of_part = self.of_part(part, levels - 1)
            if of_part is None:
                return None
            texts.append(of_part)
        return ", ".join(texts)

    def _of_long(self, value: Any) -> str:  # noqa: ANN401
        text = self.known.get(id(value))
        if text is None:
            text = self.known[id(value)] = _long_text(value)
        return text

    def _of_dict(self, value: dict[Any, Any], levels: int) -> str | None:
        if not TEXT.issuperset(map(type, value)):
            return None
        if self.are_short(value.values()) and (
            not self._long or self._long.isdisjoint(map(id, value))
        ):
            return ascii(sorted(value.items()))[1:-1]
        if not levels:
            return None
        texts: list[str] = []
        long, at_once = self._long, self.at_once
        for key, one in sorted(value.items()):
            # Atoms as in `at_once`, without its call.
            is_short = type(one) in SCALARS and id(one) not in long
            text = ascii(one) if is_short else at_once(one, levels - 1)
            if text is None:
                return None
            name = ascii(key) if id(key) not in long else at_once(key)
            texts.append(f"({name}, {text})")
        return ", ".join(texts)

    def _of_others(self, values: Any, levels: int) -> str | None:  # noqa: ANN401
        is_ordered = type(values) in (list, tuple)
        if is_ordered and self.are_short(values):
            return ascii(list(values))[1:-1]
        if not levels:
            return None
        texts: list[str] = []
        for one in values:
            text = self.at_once(one, levels - 1)
            if text is None:
                return None
            texts.append(text)
        return ", ".join(texts if is_ordered else sorted(texts))


def _long_text(value: Any) -> str:  # noqa: ANN401
    kind = type(value).__name__
    if kind == "int":
        value = pickle.encode_long(value)
        return f"int#{hashlib.sha256(value).hexdigest()}"
    content = value.encode("utf-8", "surrogatepass") if kind == "str" else value
    return f"{kind}#{hashlib.sha256(content).hexdigest()}"
