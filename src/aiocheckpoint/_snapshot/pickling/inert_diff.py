"""The differences of two inert states, by key and path."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint._snapshot.pickling.inert_matching import (
    are_compared_by_parts,
    differing_part,
    in_order,
    kind_of_change,
    match_rewritten,
)
from aiocheckpoint._snapshot.pickling.inert_paths import member_step
from aiocheckpoint._snapshot.pickling.inert_values import (
    DEFAULT,
    MISSING,
    BeyondBoundError,
    Placeholder,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiocheckpoint._snapshot.pickling.inert_states import Inert, InertKey
    from aiocheckpoint._snapshot.pickling.inert_values import InertBounds

__all__ = ["Change", "Differences", "diff_trees"]

_SETS = (set, frozenset)


class Change(NamedTuple):
    """One difference between two states.

    Attributes:
        path: Where it is, such as `note` or `orders[3].price`.
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
        bounds: The bounds. A difference that is deeper is shown at the last level.
    """
    return _Comparison(old, new, bounds).compare()


class _Comparison:
    def __init__(self, old: Inert, new: Inert, bounds: InertBounds) -> None:
        self._states, self._bounds = (old, new), bounds
        self._changes: list[Change] = []
        self._seen: set[tuple[int, int]] = set()
        self._complete = old.complete and new.complete
        for state in self._states:
            state.digester.deadline = time.monotonic() + bounds.seconds

    def compare(self) -> Differences:
        """Compare the states."""
        same: list[Any] = []
        try:
            olds, news = (self._by_text(side) for side in (0, 1))
            for step, text in in_order(olds, news, lambda one: one.key):
                one, other = olds.get(text), news.get(text)
                if (
                    one is not None
                    and other is not None
                    and 0 < len(one.digest) == len(other.digest)
                    and one.digest == other.digest
                ):
                    same.append(other.key)
                else:
                    self._keys(step.removeprefix("."), one, other)
        except BeyondBoundError:
            self._complete = False
        return Differences(tuple(self._changes), tuple(same), self._complete)

    def _by_text(self, side: int) -> dict[str, InertKey]:
        return {self._text(side, one.key): one for one in self._states[side].keys}

    def _keys(self, path: str, old: InertKey | None, new: InertKey | None) -> None:
        """Compare the values of one key that differ, or of which one is missing."""
        for key in (old, new):
            if key is not None and not key.digest:
                self._complete = False
                return
        if old is not None and new is not None:
            self._values(path, old.tree, new.tree, 1)
        elif old is not None and self._states[1].complete:
            self._note(path, "removed", old.tree, MISSING)
        elif new is not None and self._states[0].complete:
            self._note(path, "added", MISSING, new.tree)

    def _note(self, path: str, kind: str, old: Any, new: Any) -> None:  # noqa: ANN401
        if len(self._changes) >= self._bounds.shown:
            raise BeyondBoundError
        self._changes.append(Change(path, kind, old, new))

    def _text(self, side: int, tree: Any) -> str:  # noqa: ANN401
        digester = self._states[side].digester
        digester.check()
        return digester.text(tree)

    def _is_cyclic(self, old: Any, new: Any) -> bool:  # noqa: ANN401
        """Whether a value holds itself. Its text tells of all else that it is part of."""
        return (
            id(old) in self._states[0].digester.cyclic or id(new) in self._states[1].digester.cyclic
        )

    def _pair(self, path: str, old: Any, new: Any, depth: int) -> None:  # noqa: ANN401
        """Compare two values, either of which may be missing."""
        if old is MISSING or new is MISSING:
            if old is not new:
                self._note(path, "added" if old is MISSING else "removed", old, new)
        elif self._is_cyclic(old, new):
            self._values(path, old, new, depth, surely=False)
        elif self._text(0, old) != self._text(1, new):
            self._values(path, old, new, depth)

    def _values(
        self,
        path: str,
        old: Any,  # noqa: ANN401
        new: Any,  # noqa: ANN401
        depth: int,
        *,
        surely: bool = True,
    ) -> None:
        """Note how two values differ.

        Args:
            path: The path to them.
            old: The older value.
            new: The newer value.
            depth: Their depth.
            surely: Whether they are known to differ.
        """
        if (id(old), id(new)) in self._seen and depth > 1:
            return
        compare = self._comparing(old, new)
        if compare is not None and depth < self._bounds.depth:
            self._seen.add((id(old), id(new)))
            before = len(self._changes)
            compare(path, old, new, depth + 1)
            if len(self._changes) > before or not surely:
                return
        elif compare is not None and not surely:
            self._complete = False
            return
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

    def _dicts(self, path: str, old: Any, new: Any, depth: int) -> None:  # noqa: ANN401
        self._entries(path, (old.items(), new.items()), depth)

    def _entries(self, path: str, pairs: tuple[Iterable[Any], Iterable[Any]], depth: int) -> None:
        olds, news = ({self._text(side, pair[0]): pair for pair in pairs[side]} for side in (0, 1))
        rewritten = match_rewritten(olds, news, lambda pair: pair[0])
        for step, text in in_order(olds, news, lambda pair: pair[0]):
            one, other = (side.get(text, (None, MISSING))[1] for side in (olds, news))
            if text in rewritten:
                self._note(path + step, "rewritten", one, other)
            else:
                self._pair(path + step, one, other, depth)

    def _lists(self, path: str, old: Any, new: Any, depth: int) -> None:  # noqa: ANN401
        begin, ends = 0, (len(old), len(new))
        if not any(map(self._is_cyclic, old, old)) and not any(map(self._is_cyclic, new, new)):
            olds, news = ([self._text(side, one) for one in (old, new)[side]] for side in (0, 1))
            begin, ends = differing_part(olds, news)
        for index in range(begin, max(ends)):
            one = old[index] if index < ends[0] else MISSING
            other = new[index] if index < ends[1] else MISSING
            self._pair(f"{path}[{index}]", one, other, depth)

    def _sets(self, path: str, old: Any, new: Any, depth: int) -> None:  # noqa: ANN401
        olds, news = ({self._text(side, one): one for one in (old, new)[side]} for side in (0, 1))
        match_rewritten(olds, news, lambda one: one)
        for step, text in in_order(olds, news, lambda one: one):
            one, other = olds.get(text, MISSING), news.get(text, MISSING)
            self._pair(path + member_step(step), one, other, depth)

    def _placeholders(self, path: str, old: Any, new: Any, depth: int) -> None:  # noqa: ANN401
        if are_compared_by_parts(old, new):
            self._pair(f"{path}()", old.args, new.args, depth)
            self._pair(path, old.state, new.state, depth)
            self._pair(path, old.items, new.items, depth)
            pairs = tuple(() if one.entries is MISSING else one.entries for one in (old, new))
            self._entries(path, (pairs[0], pairs[1]), depth)
        elif self._text(0, old) != self._text(1, new):
            self._note(path, kind_of_change(old, new), old, new)
