"""The filter of lists, counts and recovery: which runs, by the facts of their headers."""

from collections.abc import Collection
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple, TypedDict

from aiocheckpoint._model.header import Header, Status

__all__ = ["ALL", "FilterOptions", "RunFilter", "error_type", "fits"]


class RunFilter(NamedTuple):
    """A choice of runs. A run is chosen if it has all that is asked for.

    In a pattern, `*` stands for any text, `?` for one character, `[ab]` for one of these, and
    `[!ab]` for any other one. Letters differ by their case.

    Attributes:
        statuses: Statuses as users see them. None for all.
        steps: Names of steps at which runs stand, as `Header.next_step` has them. None for all. A
            finished run stands at none.
        error: Pattern of the type of the exception that an unfinished run broke on: of the
            qualified type, as `Failure.type` has it, or of its last part. "TimeoutError" fits
            "builtins.TimeoutError". Also of one that is tried again. None for all.
        ids: Pattern of run ids. The run without an id has none of them. None for all.
        since: Seconds since the epoch. The newest snapshot was written then or later.
        before: Seconds since the epoch. The newest snapshot was written earlier.
        tries: The least number of attempts at the step where a run stands, see `Header.tries`.
        stale: Only runs that are shown as running, and that no living process owns. An owner on
            another machine counts as living until its lease has run out.
    """

    statuses: frozenset[Status] | None = None
    steps: frozenset[str] | None = None
    error: str | None = None
    ids: str | None = None
    since: float | None = None
    before: float | None = None
    tries: int | None = None
    stale: bool = False

    def wants(self, header: Header) -> bool:
        """Whether a run is chosen, by its header as lists have it: with status and owner."""
        return (
            (self.statuses is None or header.status in self.statuses)
            and (self.since is None or header.written_at >= self.since)
            and (self.before is None or header.written_at < self.before)
            and (self.steps is None or header.next_step in self.steps)
            and (self.ids is None or fits(header.run_id, self.ids))
            and (self.error is None or _fits_type(error_type(header), self.error))
            and (self.tries is None or header.tries >= self.tries)
            and not (self.stale and (header.status != "running" or header.owner is not None))
        )

    @property
    def contradiction(self) -> Literal["times", "stale"] | None:
        """What no run can fit: `since` behind `before`, or `stale` with statuses but "running"."""
        if self.since is not None and self.before is not None and self.since >= self.before:
            return "times"
        if self.stale and self.statuses is not None and "running" not in self.statuses:
            return "stale"
        return None


class FilterOptions(TypedDict, total=False):
    """The arguments of lists, counts and recovery that choose runs, beside `status=`.

    A run is chosen if it has all that is asked for. In a pattern, `*` stands for any text, `?` for
    one character, `[ab]` for one of these, and `[!ab]` for any other one. Letters differ by their
    case.

    Attributes:
        step: Name of the step at which a run stands, or several. A finished run stands at none.
        error: Pattern of the type of the exception that an unfinished run broke on, with its module
            or without: "httpx.*", "ConnectTimeout" or "*Timeout*". Also of one that is tried again.
        ids: Pattern of run ids, such as "order-*". The run without an id fits none.
        since: The newest snapshot was written then or later: a `timedelta` before now, a `datetime`
            with a time zone, or a number of seconds since the epoch.
        before: The newest snapshot was written earlier. As `since`.
        tries: The least number of attempts at the step where a run stands, see `Header.tries`.
        stale: With True only runs that are shown as running, and that no living process owns.
    """

    step: str | Collection[str] | None
    error: str | None
    ids: str | None
    since: float | timedelta | datetime | None
    before: float | timedelta | datetime | None
    tries: int | None
    stale: bool


ALL = RunFilter()
"""Chooses every run."""


def error_type(header: Header) -> str | None:
    """The type of the exception that an unfinished run broke on, or None."""
    return None if header.failure is None or header.finished else header.failure.type


def _fits_type(kind: str | None, pattern: str) -> bool:
    return kind is not None and (fits(kind, pattern) or fits(kind.rpartition(".")[2], pattern))


def fits(text: str | None, pattern: str) -> bool:
    """Whether a text is there, and fits a pattern."""
    return text is not None and fnmatchcase(text, pattern)
