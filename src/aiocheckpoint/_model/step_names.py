"""The names of a flow's steps, and what a header tells of them where they are many.

A header is written after every step, so that it must not grow with the number of steps. Of a large
flow it has a few names next to the position, and digests that stand for all others.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING

from aiocheckpoint._model.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["StepNames", "StepNamesExcerpt", "describe_change", "first_difference", "max_recorded"]

MOST_NAMES = 100
"""Headers have the names of all steps of flows that have no more."""

BESIDE = 5
"""How many names they have before the position of a larger one, and from it on."""

_TOLD_OF_MANY = 20

_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepNamesExcerpt(Record):
    """What a header tells of the steps of a flow that has more than 100.

    A digest is the SHA-256, in hexadecimal digits, of names one behind the other, each as a string
    of ASCII JSON.

    Attributes:
        count: How many steps the flow has.
        begin: Index of the first of `names`.
        names: Names of successive steps, among them the last one done and the next one.
        done: How many steps had been done; all, where the run was finished.
        before: Digest of the names of those.
        whole: Digest of the names of all steps.
    """

    count: int
    begin: int
    names: tuple[str, ...]
    done: int
    before: str
    whole: str

    def name(self, index: int) -> str | None:
        """Name of a step, None where it is not among `names`."""
        place = index - self.begin
        return self.names[place] if 0 <= place < len(self.names) else None

    def matches(self, steps: StepNames) -> bool:
        """Whether these are all the steps that the flow has."""
        return self.count == len(steps.all) and self.whole == steps.digest(self.count)

    def matches_prefix(self, steps: StepNames, first: int) -> bool:
        """Whether the first so many steps of a flow are known to be called as these are.

        Where a position was moved by hand, further back than `names` reach, a step between there
        and `done` that was renamed makes it unknown.
        """
        if not first <= min(self.count, len(steps.all)):
            return False
        if self.matches(steps):
            return True
        if first > self.done:
            return self._known(self.done, first) == steps.all[self.done : first] and (
                self.before == steps.digest(self.done)
            )
        rest = self._known(first, self.done)
        if rest is None:
            return self.done <= len(steps.all) and self.before == steps.digest(self.done)
        if not rest:
            return self.before == steps.digest(first)
        return self.before == _digested((*steps.all[:first], *rest)).hex()

    def _known(self, begin: int, end: int) -> tuple[str, ...] | None:
        """The names of some steps, or None where one of them is not known."""
        if begin < self.begin or end > self.begin + len(self.names):
            return None
        return self.names[begin - self.begin : end - self.begin]


def max_recorded(excerpt: StepNamesExcerpt | None) -> int:
    """Of how many steps a header tells what came of them: all of a flow that is not large."""
    return MOST_NAMES if excerpt is None else _TOLD_OF_MANY


class StepNames:
    """The names of a flow's steps.

    Args:
        names: All of them, in order.

    Attributes:
        all: All of them.
        listed: The same where headers have them all, else None.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.all = names
        self.listed: tuple[str, ...] | None = names if len(names) <= MOST_NAMES else None

    def excerpt(self, position: int, *, finished: bool) -> StepNamesExcerpt | None:
        """What a header tells of the names at a position; None where it has them all."""
        if self.listed is not None:
            return None
        count = len(self.all)
        done = count if finished else min(position, count)
        begin = max(0, done - BESIDE)
        return StepNamesExcerpt(
            count=count,
            begin=begin,
            names=self.all[begin : done + BESIDE],
            done=done,
            before=self.digest(done),
            whole=self._whole,
        )

    def digest(self, first: int) -> str:
        """Digest of the first so many names."""
        return self._chain[first * _DIGEST_BYTES : (first + 1) * _DIGEST_BYTES].hex()

    @cached_property
    def _whole(self) -> str:
        return self.digest(len(self.all))

    @cached_property
    def _chain(self) -> bytes:
        """The digests of all beginnings, one behind the other: made once, and not in each step."""
        digest, chain = hashlib.sha256(), bytearray()
        for name in self.all:
            chain += digest.digest()
            digest.update(quoted(name).encode())
        return bytes(chain + digest.digest())


def _digested(names: Iterable[str]) -> bytes:
    return hashlib.sha256("".join(map(quoted, names)).encode()).digest()


def first_difference(
    stored: Sequence[str], current: Sequence[str], position: int, excerpt: StepNamesExcerpt | None
) -> int | None:
    """Index of the first step before the position that is known to be another one now."""
    known, begin = (stored, 0) if excerpt is None else (excerpt.names, excerpt.begin)
    for index, name in enumerate(known[: max(0, position - begin)], begin):
        if index >= len(current) or current[index] != name:
            return index
    return None


def describe_change(
    stored: Sequence[str],
    current: Sequence[str],
    position: int,
    excerpt: StepNamesExcerpt | None,
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
