"""How the steps of a flow differ from those that a checkpoint tells of, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._names import BESIDE, MOST_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._names import Excerpt

__all__ = ["first_difference", "told_change"]


def first_difference(
    stored: Sequence[str], current: Sequence[str], position: int, excerpt: Excerpt | None
) -> int | None:
    """Index of the first step before the position that is known to be another one now."""
    known, begin = (stored, 0) if excerpt is None else (excerpt.names, excerpt.begin)
    for index, name in enumerate(known[: max(0, position - begin)], begin):
        if index >= len(current) or current[index] != name:
            return index
    return None


def told_change(
    stored: Sequence[str],
    current: Sequence[str],
    position: int,
    excerpt: Excerpt | None,
    difference: int | None,
) -> str:
    """Tell which names there were and are, shortened where they are many."""
    around = position if difference is None else difference
    if excerpt is None:
        were = _listed(stored, around)
    else:
        were = _bracketed(excerpt.names, excerpt.begin, excerpt.count)
    told = f"after {position} of the steps {were}, but this flow has {_listed(current, around)}"
    if excerpt is None and max(len(stored), len(current)) <= MOST_NAMES:
        return told
    if difference is None:
        return f"{told} (none of the names that the checkpoint has shows the difference)"
    name = stored[difference] if excerpt is None else excerpt.name(difference)
    now = repr(current[difference]) if difference < len(current) else "no step"
    return f"{told} (at index {difference} there was {name!r}, and is {now} now)"


def _listed(names: Sequence[str], around: int) -> str:
    if len(names) <= MOST_NAMES:
        return _bracketed(names, 0, len(names))
    begin = max(0, min(around, len(names)) - BESIDE)
    return _bracketed(names[begin : begin + 2 * BESIDE], begin, len(names))


def _bracketed(names: Sequence[str], begin: int, count: int) -> str:
    """Those of `count` names that begin at an index."""
    dots = ["..."] if begin > 0 else [], ["..."] if begin + len(names) < count else []
    shown = "[" + ", ".join([*dots[0], *names, *dots[1]]) + "]"
    return shown if len(names) == count else f"{shown} ({count} in all)"
