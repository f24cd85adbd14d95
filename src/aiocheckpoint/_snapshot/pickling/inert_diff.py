"""The differences of two inert states, by key and path."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiocheckpoint._snapshot.pickling.inert_digests import Digester
from aiocheckpoint._snapshot.pickling.inert_json import type_name
from aiocheckpoint._snapshot.pickling.inert_known import recognize
from aiocheckpoint._snapshot.pickling.inert_machine import BeyondBoundError
from aiocheckpoint._snapshot.pickling.inert_values import DEFAULT, MISSING, Placeholder

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._snapshot.pickling.inert_values import Inert, InertBounds

__all__ = ["Change", "Differences", "diff_trees"]

_SETS = (set, frozenset)
_LONGEST_STEP: Final = 80


class Change(NamedTuple):
    """One difference between two states.

    Attributes:
        path: Where it is, such as `note` or `orders[3].price`. ASCII, but for letters in names.
        kind: "added", "removed", "changed", or "rewritten": an object that was pickled in another
            way, of which it is unknown whether it has changed.
        old, new: The inert values. `MISSING` where there is none.
    """

    path: str
    kind: str
    old: Any
    new: Any


class Differences(NamedTuple):
    """The differences of two states.

    Attributes:
        changes: The differences, in the order of their paths.
        same: The keys whose values are equal.
        complete: Whether everything was compared. False where a bound was reached.
    """

    changes: tuple[Change, ...]
    same: tuple[Any, ...]
    complete: bool


def diff_trees(old: Inert, new: Inert, bounds: InertBounds = DEFAULT) -> Differences:
    """Compare two states.

    Args:
        old: The older one.
        new: The newer one.
        bounds: The bounds. Deeper differences are shown at the last level that is compared.
    """
    return _Comparison(old, new, bounds).compare()


class _Comparison:
    def __init__(self, old: Inert, new: Inert, bounds: InertBounds) -> None:
        self._old, self._new, self._bounds = old, new, bounds
        deadline = time.monotonic() + bounds.seconds
        self._digesters = tuple(_digester(one, deadline) for one in (old, new))
        self._changes: list[Change] = []
        self._seen: set[tuple[int, int]] = set()
        self._complete = old.complete and new.complete

    def compare(self) -> Differences:
        """Compare the states."""
        same: list[Any] = []
        old, new = self._by_label(self._old), self._by_label(self._new)
        try:
            for label in sorted(old.keys() | new.keys()):
                one, other = old.get(label), new.get(label)
                path = label.removeprefix(".")
                if one is None or other is None:
                    self._one_sided(path, one, other)
                elif not (one.digest and other.digest):
                    self._complete = False
                elif one.digest == other.digest:
                    same.append(other.key)
                else:
                    self._values(path, one.tree, other.tree, 1)
        except BeyondBoundError:
            self._complete = False
        return Differences(tuple(self._changes), tuple(same), self._complete)

    def _by_label(self, inert: Inert) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for one in inert.keys:
            label = step_of(one.key)
            while label in found:  # Two keys that are shown in the same way.
                label += "'"
            found[label] = one
        return found

    def _one_sided(self, path: str, old: Any, new: Any) -> None:  # noqa: ANN401
        """Note a key that only one state has, unless the other one may have it as well."""
        if not (self._new if new is None else self._old).complete:
            return
        if new is None:
            self._note(path, "removed", old.tree, MISSING)
        else:
            self._note(path, "added", MISSING, new.tree)

    def _note(self, path: str, kind: str, old: Any, new: Any) -> None:  # noqa: ANN401
        if len(self._changes) >= self._bounds.shown:
            raise BeyondBoundError
        self._changes.append(Change(path, kind, old, new))

    def _text(self, side: int, tree: Any) -> str:  # noqa: ANN401
        return self._digesters[side].text(tree)

    def _values(self, path: str, old: Any, new: Any, depth: int) -> None:  # noqa: ANN401
        """Note how two values differ that are known to differ."""
        if (id(old), id(new)) in self._seen and depth > 1:
            return
        compare = self._comparing(old, new) if depth < self._bounds.depth else None
        if compare is None:
            self._note(path, "changed", old, new)
            return
        self._seen.add((id(old), id(new)))
        before = len(self._changes)
        compare(path, old, new, depth + 1)
        if len(self._changes) == before:  # They differ in what has no path.
            self._note(path, "changed", old, new)

    def _comparing(self, old: Any, new: Any) -> Callable[..., None] | None:  # noqa: ANN401
        """The method that compares what two values hold, or None where they are compared whole."""
        if isinstance(old, Placeholder) and isinstance(new, Placeholder):
            return self._placeholders
        kind = type(old)
        if kind is not type(new):
            return None
        if kind is dict:
            return self._dicts
        if kind is list or kind is tuple:
            return self._lists
        return self._sets if kind in _SETS else None

    def _pair(self, path: str, old: Any, new: Any, depth: int) -> None:  # noqa: ANN401
        """Compare two values, either of which may be missing."""
        if old is MISSING and new is MISSING:
            return
        if old is MISSING or new is MISSING:
            self._note(path, "added" if old is MISSING else "removed", old, new)
        elif self._text(0, old) != self._text(1, new):
            self._values(path, old, new, depth)

    def _dicts(self, path: str, old: Any, new: Any, depth: int) -> None:  # noqa: ANN401
        self._entries(path, list(old.items()), list(new.items()), depth)

    def _entries(self, path: str, old: Any, new: Any, depth: int) -> None:  # noqa: ANN401
        olds, news = (
            {self._text(side, key): (key, value) for key, value in pairs}
            for side, pairs in enumerate((old, new))
        )
        found = [
            (step_of((olds.get(text) or news[text])[0]), text) for text in olds.keys() | news.keys()
        ]
        for step, text in sorted(found):
            one, other = (side.get(text, (None, MISSING))[1] for side in (olds, news))
            self._pair(path + step, one, other, depth)

    def _lists(self, path: str, old: Any, new: Any, depth: int) -> None:  # noqa: ANN401
        olds, news = (
            [self._text(side, one) for one in side_values]
            for side, side_values in enumerate((old, new))
        )
        begin, ends = _common(olds, news)
        for index in range(begin, max(ends)):
            one = old[index] if index < ends[0] else MISSING
            other = new[index] if index < ends[1] else MISSING
            self._pair(f"{path}[{index}]", one, other, depth)

    def _sets(self, path: str, old: Any, new: Any, _: int) -> None:  # noqa: ANN401
        olds, news = (
            {self._text(side, one): one for one in members}
            for side, members in enumerate((old, new))
        )
        for text in sorted(olds.keys() ^ news.keys()):
            one, other = olds.get(text, MISSING), news.get(text, MISSING)
            member = one if other is MISSING else other
            step = step_of(member)
            shown = f"['{step[1:]}']" if step.startswith(".") else step
            self._pair(f"{path}{{{shown[1:-1]}}}", one, other, 0)

    def _placeholders(self, path: str, old: Any, new: Any, depth: int) -> None:  # noqa: ANN401
        known = recognize(old), recognize(new)
        if known != (None, None) or old.kind != new.kind or old.kind != "object":
            self._note(path, _kind_of_change(old, new, known), old, new)
        elif type_name(old) != type_name(new):
            self._note(path, "changed", old, new)
        elif old.written_by != new.written_by:
            self._note(path, "rewritten", old, new)
        else:
            self._parts(path, old, new, depth)

    def _parts(self, path: str, old: Any, new: Any, depth: int) -> None:  # noqa: ANN401
        self._pair(f"{path}()", old.args, new.args, depth)
        self._pair(path, old.state, new.state, depth)
        self._pair(path, old.items, new.items, depth)
        olds, news = (() if one is MISSING else one for one in (old.entries, new.entries))
        self._entries(path, olds, news, depth)


def _digester(inert: Inert, deadline: float) -> Digester:
    digester = Digester(inert.long, deadline)
    digester.texts = inert.texts
    return digester


def _kind_of_change(old: Placeholder, new: Placeholder, known: tuple[Any, Any]) -> str:
    """Whether two objects of which more is known have changed, or may only be written anew."""
    if None not in known or type_name(old) != type_name(new):
        return "changed"
    return "rewritten" if old.written_by != new.written_by else "changed"


def _common(old: list[str], new: list[str]) -> tuple[int, tuple[int, int]]:
    """Where two lists begin to differ, and the ends of what differs in each."""
    begin, shorter = 0, min(len(old), len(new))
    while begin < shorter and old[begin] == new[begin]:
        begin += 1
    one, other = len(old), len(new)
    while one > begin and other > begin and old[one - 1] == new[other - 1]:
        one, other = one - 1, other - 1
    return begin, (one, other)


def step_of(key: Any) -> str:  # noqa: ANN401 - an inert tree
    """The step of a path to the value of a key: `.price`, `[3]`, `['two words']`."""
    kind = type(key)
    if kind is str and key.isidentifier() and len(key) <= _LONGEST_STEP:
        return f".{key}"
    if kind is int and key.bit_length() > _LONGEST_STEP:
        text = hex(key)
    elif kind in (str, bytes):
        text = ascii(key[: _LONGEST_STEP + 1])
    elif isinstance(key, Placeholder):
        known = recognize(key)
        value = "" if known is None else f" {known.facts.get('value', '')!a}"
        text = f"<{type_name(key)}{value}>"
    elif kind in (int, float, complex, bool, type(None)):
        text = ascii(key)
    else:
        text = f"<{type_name(key)} {len(key)}>"
    return f"[{text}]" if len(text) <= _LONGEST_STEP else f"[{text[:_LONGEST_STEP]}...]"
