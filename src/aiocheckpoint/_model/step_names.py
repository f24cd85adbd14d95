"""The names of a flow's steps, and the forms in which a header records them.

A header is written after every step, so it must not grow with the number of steps. The header of a
large flow has the names next to the position, and digests of all names.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BESIDE",
    "MOST_NAMES",
    "MOST_OF_LARGE",
    "NO_STEP_NAMES",
    "ListedStepNames",
    "RecordedStepNames",
    "StepNames",
    "StepNamesExcerpt",
]

MOST_NAMES = 100
"""The most steps whose names a header lists in full."""

BESIDE = 5
"""The most names that an excerpt has on each side of the position."""

MOST_OF_LARGE = 20
"""The most entries that a header has where it does not list all: every byte costs each step time.
"""

_DIGEST_BYTES = hashlib.sha256().digest_size


class StepNames:
    """The names of a flow's steps.

    Args:
        names: All names, in order.

    Attributes:
        all: The same.
        listed: The same where a header lists them in full, else None.
        max_recorded: The most steps of which a header has the duration and the attempts.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.all = names
        is_large = len(names) > MOST_NAMES
        self.listed: tuple[str, ...] | None = None if is_large else names
        self.max_recorded: int = MOST_OF_LARGE if is_large else MOST_NAMES

    def excerpt(self, position: int, *, finished: bool) -> StepNamesExcerpt | None:
        """The excerpt that a header has at a position. None where it lists all names."""
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
    def unordered(self) -> frozenset[str]:
        """All names, for looking one up."""
        return frozenset(self.all)

    @cached_property
    def _whole(self) -> str:
        return self.digest(len(self.all))

    @cached_property
    def _chain(self) -> bytes:
        """The digests of all beginnings in a row, made once instead of in each step."""
        digest, chain = hashlib.sha256(), bytearray()
        for name in self.all:
            chain += digest.digest()
            digest.update(quoted(name).encode())
        return bytes(chain + digest.digest())


class RecordedStepNames(Protocol):
    """The step names of a flow, as far as a header has them."""

    @property
    def count(self) -> int:
        """How many steps the flow has."""
        ...

    @property
    def begin(self) -> int:
        """Index of the first of `names`."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of successive steps."""
        ...

    def at(self, index: int) -> str | None:
        """Name of a step, None where it is unknown."""

    def is_at(self, position: int, steps: StepNames, index: int) -> bool:
        """Whether the step at a recorded position is the one at an index of a flow."""
        ...

    def matches(self, steps: StepNames) -> bool:
        """Whether all steps of a flow have these names, as far as these are known."""
        ...

    def matches_prefix(self, steps: StepNames, first: int) -> bool:
        """Whether the first so many steps of a flow have these names, as far as these are known."""
        ...

    def shares_name(self, steps: StepNames) -> bool:
        """Whether a step of a flow has one of `names`."""
        ...


class ListedStepNames:
    """All step names of a flow.

    Args:
        names: The names.
    """

    __slots__ = ("names",)

    begin = 0

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names: tuple[str, ...] = names

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.names)

    def at(self, index: int) -> str | None:
        """Name of a step, None behind the last."""
        return self.names[index] if index < len(self.names) else None

    def is_at(self, position: int, steps: StepNames, index: int) -> bool:
        """Whether the step at a recorded position is the one at an index of a flow."""
        return (self.at(position),) == steps.all[index : index + 1]

    def matches(self, steps: StepNames) -> bool:
        """Whether all steps of a flow have these names."""
        return self.names == steps.all

    def matches_prefix(self, steps: StepNames, first: int) -> bool:
        """Whether the first so many steps of a flow have these names."""
        return first <= len(steps.all) and self.names[:first] == steps.all[:first]

    def shares_name(self, steps: StepNames) -> bool:
        """Whether a step of a flow has one of these names."""
        return self.names == steps.all or not steps.unordered.isdisjoint(self.names)


class _UnknownStepNames(ListedStepNames):
    """No name is known: the snapshot was written by gumly, or comes from a handler of dicts."""

    __slots__ = ()

    def matches(self, steps: StepNames) -> bool:  # noqa: ARG002 - as its base
        """Return True: no names are recorded."""
        return True

    def matches_prefix(self, steps: StepNames, first: int) -> bool:
        """Only the number of steps is compared."""
        return first <= len(steps.all)

    def shares_name(self, steps: StepNames) -> bool:  # noqa: ARG002 - as its base
        """Return True: no names are recorded."""
        return True


NO_STEP_NAMES = _UnknownStepNames(())
"""The record of a header that has no names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNamesExcerpt:
    """The record of the step names of a flow that has more than 100 steps.

    A digest is the SHA-256, in hexadecimal digits, of successive names, each as a string of ASCII
    JSON.

    Attributes:
        count: How many steps the flow has.
        begin: Index of the first of `names`.
        names: Names of successive steps, among them the last finished one and the next one.
        done: How many steps had finished. All, where the run was finished.
        before: Digest of the names of the finished steps.
        whole: Digest of the names of all steps.
    """

    count: int
    begin: int
    names: tuple[str, ...]
    done: int
    before: str
    whole: str

    @property
    def max_recorded(self) -> int:
        """The most steps of which a header has the duration and the attempts."""
        return MOST_OF_LARGE

    def at(self, index: int) -> str | None:
        """Name of a step, None where it is not among `names`."""
        offset = index - self.begin
        return self.names[offset] if 0 <= offset < len(self.names) else None

    def is_at(self, position: int, steps: StepNames, index: int) -> bool:
        """Whether the step at a recorded position is the one at an index of a flow."""
        name = self.at(position)
        if name is None:  # the position was moved by hand
            return position == index and self.matches(steps)
        return steps.all[index : index + 1] == (name,)

    def matches(self, steps: StepNames) -> bool:
        """Whether these are all the steps that the flow has."""
        return self.count == len(steps.all) and self.whole == steps.digest(self.count)

    def matches_prefix(self, steps: StepNames, first: int) -> bool:
        """Whether the first so many steps of a flow are known to have the same names.

        A position that was moved back by hand may be out of the reach of `names`. A renamed step
        between it and `done` then makes the answer unknown, and so False.
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

    def shares_name(self, steps: StepNames) -> bool:
        """Whether a step of a flow has one of `names`."""
        return not steps.unordered.isdisjoint(self.names)

    def _known(self, begin: int, end: int) -> tuple[str, ...] | None:
        """The names of some steps, or None where one of them is unknown."""
        if begin < self.begin or end > self.begin + len(self.names):
            return None
        return self.names[begin - self.begin : end - self.begin]


def _digested(names: Iterable[str]) -> bytes:
    return hashlib.sha256("".join(map(quoted, names)).encode()).digest()
