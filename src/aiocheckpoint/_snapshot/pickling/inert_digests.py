"""Digests of inert trees: equal for equal plain data, in whatever order dicts and sets hold it.

The walk over a tree has no recursion. A container that holds itself has the number of its visit in
the place where it does.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from aiocheckpoint._snapshot.pickling.inert_texts import (
    LETTERS,
    SOME,
    TEXT,
    Texts,
    bracketed,
    hashed,
    parts_of,
)
from aiocheckpoint._snapshot.pickling.inert_values import MISSING, BeyondBoundError, Placeholder

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    _Walk: TypeAlias = Generator[Any, str, str]

__all__ = ["Digester"]

_PIECE, _OFTEN, _DIGITS = 1 << 16, 64, 16


class _Body:
    """Collects the texts of what a container holds, and hashes them piece by piece."""

    __slots__ = ("_hash", "_length", "_parts")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._hash: Any = None

    def add(self, texts: list[str]) -> bool:
        """Add some texts. Whether a piece was hashed."""
        self._parts += texts
        self._length += sum(map(len, texts))
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
            return bracketed(letter, ", ".join(self._parts))
        self._flush()
        return f"{letter}#{self._hash.hexdigest()}"


class Digester:
    """Makes the texts of trees, and their digests.

    Args:
        long: Long texts, bytes and integers by their ids.
        deadline: When to give up, by `time.monotonic`.

    Attributes:
        cyclic: Ids of containers that hold themselves, or one that holds itself.
    """

    def __init__(self, long: dict[int, object], deadline: float) -> None:
        self.deadline = deadline
        self.cyclic: set[int] = set()
        self._texts = Texts(long, self.check)
        self._known = self._texts.known
        self._open: dict[int, int] = {}
        self._entered = 0

    def digest(self, tree: Any) -> str:  # noqa: ANN401 - an inert tree
        """The digest of a value, 16 hexadecimal digits.

        Raises:
            BeyondBoundError: It takes too long.
        """
        self.check()
        return hashed(self.text(tree))[:_DIGITS]

    def text(self, tree: Any) -> str:  # noqa: ANN401
        """The text of a value.

        Raises:
            BeyondBoundError: It takes too long. Never for atoms and small containers of atoms.
        """
        text = self._texts.at_once(tree)
        return self._walked(tree) if text is None else text

    def _walked(self, root: Any) -> str:  # noqa: ANN401
        self._entered, self._open = 0, {id(root): 0}
        walks: list[tuple[int, _Walk]] = [(id(root), self._walk(root))]
        cyclic: dict[int, str] = {}
        text: Any = None
        while walks:
            walk = walks[-1][1]
            try:
                child = walk.send(text)
            except StopIteration as end:
                text = end.value
                self._leave(text, walks, cyclic)
            else:
                text = self._enter(child, walks, cyclic)
        self.cyclic |= cyclic.keys()
        return str(text)

    def _enter(
        self,
        child: Any,  # noqa: ANN401
        walks: list[tuple[int, _Walk]],
        cyclic: dict[int, str],
    ) -> str | None:
        """Begin the walk over a container, unless it is a cyclic one that was entered before.

        The numbers in the texts of cyclic containers count from the root of the walk.
        """
        before = self._open.get(id(child))
        if before is not None or id(child) in cyclic:
            cyclic.setdefault(walks[-1][0], "")
            return cyclic[id(child)] if before is None else f"^{before}"
        self._entered += 1
        if self._entered % _OFTEN == 0:
            self.check()
        self._open[id(child)] = self._entered
        walks.append((id(child), self._walk(child)))
        return None

    def _leave(self, text: str, walks: list[tuple[int, _Walk]], cyclic: dict[int, str]) -> None:
        """End the walk over a container."""
        number, _ = walks.pop()
        del self._open[number]
        if number not in cyclic:
            self._known[number] = text
            return
        cyclic[number] = text
        if walks:
            cyclic.setdefault(walks[-1][0], "")

    def check(self) -> None:
        """Raise BeyondBoundError where it takes too long."""
        if time.monotonic() > self.deadline:
            raise BeyondBoundError

    def _walk(self, value: Any) -> _Walk:  # noqa: ANN401
        kind = type(value)
        if kind is dict:
            return self._entries(value)
        if kind is list or kind is tuple:
            return self._elements(LETTERS[kind], value)
        if kind is set or kind is frozenset:
            return self._members(LETTERS[kind], value)
        return self._object(value)

    def _elements(self, letter: str, values: Any) -> _Walk:  # noqa: ANN401
        body, at_once = _Body(), self._texts.at_once
        for begin in range(0, len(values), SOME):
            some = values[begin : begin + SOME]
            if self._texts.are_short(some):
                texts = [ascii(list(some))[1:-1]]
            else:
                texts = []
                for value in some:
                    text = at_once(value)
                    texts.append((yield value) if text is None else text)
            if body.add(texts):
                self.check()
        return body.text(letter)

    def _members(self, letter: str, values: Any) -> _Walk:  # noqa: ANN401
        texts: list[str] = []
        for value in values:
            text = self._texts.at_once(value)
            texts.append((yield value) if text is None else text)
        return self._joined(letter, sorted(texts))

    def _entries(self, entries: dict[Any, Any]) -> _Walk:
        if not TEXT.issuperset(map(type, entries)):
            return (yield from self._pairs("d", entries.items(), ordered=False))
        return (yield from self._pairs("d", sorted(entries.items()), ordered=True))

    def _pairs(self, letter: str, pairs: Iterable[tuple[Any, Any]], *, ordered: bool) -> _Walk:
        texts: list[str] = []
        for key, value in pairs:
            name, text = self._texts.at_once(key), self._texts.at_once(value)
            if name is None:
                name = yield key
            if text is None:
                text = yield value
            texts.append(f"({name}, {text})")
        return self._joined(letter, texts if ordered else sorted(texts))

    def _joined(self, letter: str, texts: list[str]) -> str:
        body = _Body()
        for begin in range(0, len(texts), SOME):
            if body.add(texts[begin : begin + SOME]):
                self.check()
        return body.text(letter)

    def _object(self, found: Placeholder) -> _Walk:
        text, parts = parts_of(found)
        texts = [text]
        for part in parts:
            of_part = self._texts.of_part(part)
            texts.append((yield part) if of_part is None else of_part)
        if found.entries is not MISSING:
            is_ordered = found.type == "collections.OrderedDict"
            texts.append((yield from self._pairs("d", found.entries, ordered=is_ordered)))
        return self._joined("o", texts)
