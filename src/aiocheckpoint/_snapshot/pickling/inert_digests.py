"""Digests of inert trees: equal for equal plain data, in whatever order dicts and sets hold it.

Each value has a canonical text of ASCII. A container has the text of what it holds, or the digest
of that text where it is long. So a value that is shared a million times is digested once. The
walk has no recursion. A container that holds itself has the number of its visit in that place.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from aiocheckpoint._snapshot.pickling.inert_hashable import SCALARS
from aiocheckpoint._snapshot.pickling.inert_known import recognize
from aiocheckpoint._snapshot.pickling.inert_machine import BeyondBoundError
from aiocheckpoint._snapshot.pickling.inert_values import MISSING, Placeholder

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    _Walk: TypeAlias = Generator[Any, str, str]

__all__ = ["Digester"]

_TEXT = frozenset({str})
_ATOMS = SCALARS | {bytearray}
_LETTERS: dict[type, str] = {dict: "d", list: "l", tuple: "t", set: "s", frozenset: "f"}
_SHORT, _SOME, _PIECE, _OFTEN = 600, 256, 1 << 16, 64
_DIGITS = 16


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class _Body:
    """Collects the texts of what a container holds."""

    __slots__ = ("_hash", "_length", "_parts")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._hash: Any = None

    def add(self, text: str) -> bool:
        """Add a text. Whether a whole piece was hashed."""
        self._parts.append(text)
        self._length += len(text) + 2
        if self._length < _PIECE:
            return False
        self._flush()
        return True

    def _flush(self) -> None:
        text = ", ".join(self._parts)
        if self._hash is None:
            self._hash = hashlib.sha256(text.encode())
        elif self._parts:
            self._hash.update(f", {text}".encode())
        self._parts, self._length = [], 0

    def text(self, letter: str) -> str:
        """The text of the container."""
        if self._hash is None:
            return _bracketed(letter, ", ".join(self._parts))
        self._flush()
        return f"{letter}#{self._hash.hexdigest()}"


def _bracketed(letter: str, body: str) -> str:
    return f"{letter}[{body}]" if len(body) <= _SHORT else f"{letter}#{_hashed(body)}"


class Digester:
    """Makes the texts of trees, and their digests.

    Args:
        long: Long texts, bytes and integers by their ids.
        deadline: When to give up, by `time.monotonic`.

    Attributes:
        texts: The texts of containers by their ids.
    """

    def __init__(self, long: dict[int, object], deadline: float) -> None:
        self.texts: dict[int, str] = {}
        self._long, self._deadline = long, deadline
        self._open: dict[int, int] = {}
        self._entered = self._cycles = 0

    def digest(self, tree: Any) -> str:  # noqa: ANN401 - an inert tree
        """The digest of a value, 16 hexadecimal digits.

        Raises:
            BeyondBoundError: It takes too long.
        """
        return _hashed(self.text(tree))[:_DIGITS]

    def text(self, tree: Any) -> str:  # noqa: ANN401
        """The text of a value."""
        text = self._at_once(tree)
        return self._walked(tree) if text is None else text

    def _walked(self, root: Any) -> str:  # noqa: ANN401
        self._entered = self._cycles = 0
        self._open = {id(root): 0}
        walks: list[tuple[Any, _Walk]] = [(root, self._walk(root))]
        done: list[int] = []
        text: Any = None
        while walks:
            value, walk = walks[-1]
            try:
                child = walk.send(text)
            except StopIteration as end:
                text = self.texts[id(value)] = end.value
                done.append(id(value))
                del self._open[id(value)]
                walks.pop()
                continue
            text = self._enter(child, walks)
        if self._cycles:  # The numbers in the texts count from this root.
            for number in done:
                del self.texts[number]
        return str(text)

    def _enter(self, child: Any, walks: list[tuple[Any, _Walk]]) -> str | None:  # noqa: ANN401
        if id(child) in self._open:
            self._cycles += 1
            return f"^{self._open[id(child)]}"
        self._entered += 1
        if self._entered % _OFTEN == 0:
            self._check()
        self._open[id(child)] = self._entered
        walks.append((child, self._walk(child)))
        return None

    def _check(self) -> None:
        if time.monotonic() > self._deadline:
            raise BeyondBoundError

    # --- values without a walk

    def _at_once(self, value: Any) -> str | None:  # noqa: ANN401
        """The text of an atom, of a known container, or of a small one that holds atoms alone."""
        kind = type(value)
        if kind in _ATOMS:
            return self._long_text(value) if id(value) in self._long else ascii(value)
        number = id(value)
        text = self.texts.get(number)
        if text is None and kind in _LETTERS and len(value) <= _SOME:
            body = self._flat(kind, value)
            if body is not None:
                text = self.texts[number] = _bracketed(_LETTERS[kind], body)
        return text

    def _flat(self, kind: type, value: Any) -> str | None:  # noqa: ANN401
        if kind is dict:
            if not (
                _TEXT.issuperset(map(type, value)) and self._are_short(value.values())
            ) or not self._are_short(value):
                return None
            return ascii(sorted(value.items()))[1:-1]
        if not self._are_short(value):
            return None
        if kind is list:
            return ascii(value)[1:-1]
        return ascii(list(value))[1:-1] if kind is tuple else ", ".join(sorted(map(ascii, value)))

    def _are_short(self, values: Iterable[Any]) -> bool:
        """Whether all are atoms, and none is long."""
        return SCALARS.issuperset(map(type, values)) and (
            not self._long or self._long.keys().isdisjoint(map(id, values))
        )

    def _long_text(self, value: Any) -> str:  # noqa: ANN401
        kind = type(value).__name__
        if kind == "int":
            return f"int#{_hashed(hex(value))}"
        content = value.encode("utf-8", "surrogatepass") if kind == "str" else value
        return f"{kind}#{hashlib.sha256(content).hexdigest()}"

    # --- walks

    def _walk(self, value: Any) -> _Walk:  # noqa: ANN401
        kind = type(value)
        if kind is dict:
            return self._entries(value)
        if kind is list or kind is tuple:
            return self._elements(_LETTERS[kind], value)
        if kind is set or kind is frozenset:
            return self._members(_LETTERS[kind], value)
        return self._object(value)

    def _elements(self, letter: str, values: Any) -> _Walk:  # noqa: ANN401
        body = _Body()
        for begin in range(0, len(values), _SOME):
            some = values[begin : begin + _SOME]
            if self._are_short(some):
                if body.add(ascii(list(some))[1:-1]):
                    self._check()
                continue
            for value in some:
                text = self._at_once(value)
                if body.add((yield value) if text is None else text):
                    self._check()
        return body.text(letter)

    def _members(self, letter: str, values: Any) -> _Walk:  # noqa: ANN401
        texts: list[str] = []
        for value in values:
            text = self._at_once(value)
            texts.append((yield value) if text is None else text)
        return self._joined(letter, sorted(texts))

    def _entries(self, entries: dict[Any, Any]) -> _Walk:
        if not _TEXT.issuperset(map(type, entries)):
            return (yield from self._pairs("d", entries.items(), ordered=False))
        body = _Body()
        for key in sorted(entries):
            value = entries[key]
            text = self._at_once(value)
            if text is None:
                text = yield value
            if body.add(f"({self._at_once(key)}, {text})"):
                self._check()
        return body.text("d")

    def _pairs(self, letter: str, pairs: Iterable[tuple[Any, Any]], *, ordered: bool) -> _Walk:
        texts: list[str] = []
        for key, value in pairs:
            name = self._at_once(key)
            if name is None:
                name = yield key
            text = self._at_once(value)
            if text is None:
                text = yield value
            texts.append(f"({name}, {text})")
        return self._joined(letter, texts if ordered else sorted(texts))

    def _joined(self, letter: str, texts: list[str]) -> str:
        body = _Body()
        for text in texts:
            if body.add(text):
                self._check()
        return body.text(letter)

    def _object(self, found: Placeholder) -> _Walk:
        known = recognize(found)
        if found.kind == "large":
            return f"{found.type}#{found.digest}"
        if known is not None:
            head, parts = f"{known.type!a} {known.facts!a}", known.content
        else:
            head = f"{found.kind} {found.type!a} {found.written_by!a}"
            parts = (found.args, found.state, found.items)
        texts = [head]
        for part in parts:
            text = "-" if part is MISSING else self._bytes_of(part)
            if text is None:
                text = self._at_once(part)
            texts.append((yield part) if text is None else text)
        if known is None and found.entries is not MISSING:
            is_ordered = found.type == "collections.OrderedDict"
            texts.append((yield from self._pairs("d", found.entries, ordered=is_ordered)))
        return self._joined("o", texts)

    def _bytes_of(self, part: Any) -> str | None:  # noqa: ANN401
        """The text of bytes, of whatever type. An array may be written with either."""
        if type(part) in (bytes, bytearray):
            return f"#{hashlib.sha256(part).hexdigest()}"
        if isinstance(part, Placeholder) and part.kind == "large" and part.type != "int":
            return f"#{part.digest}"
        return None
