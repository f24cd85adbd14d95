"""Counts of runs by facts of their headers."""

from __future__ import annotations

import math
from collections import Counter
from datetime import date
from typing import TYPE_CHECKING, Literal, cast, get_args

from aiocheckpoint._model.header import Status
from aiocheckpoint.errors import InvalidValueError
from aiocheckpoint.handlers._run_filter import error_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aiocheckpoint._model.header import Header

__all__ = [
    "CountBy",
    "Counts",
    "SeveralFacts",
    "checked_facts",
    "count_headers",
    "day_number",
    "day_text",
    "facts_of",
    "with_all_statuses",
]

CountBy = Literal["status", "step", "error", "day"]
"""The facts of runs that counts are made by. "day" is that of the newest snapshot, in UTC."""

SeveralFacts = list[CountBy] | tuple[CountBy, ...]

Counts = dict[tuple[str | None, ...], int]
"""Numbers of runs by the values of some facts, in the order of these."""

_EPOCH = date(1970, 1, 1).toordinal()


def checked_facts(by: object) -> tuple[CountBy, ...] | None:
    """Return the facts that a user asks for by `by=`, one or several. None for none.

    Raises:
        InvalidValueError: Runs cannot be counted by that.
    """
    if by is None:
        return None
    several = by if isinstance(by, (list, tuple)) else (by,)
    if not several or any(one not in get_args(CountBy) for one in several):
        *most, last = (f"by={one!r}" for one in get_args(CountBy))
        raise InvalidValueError(
            f"by={by!r}: runs are counted {', '.join(most)} or {last}, by several of these as in "
            'by=("step", "error"), or without by=.'
        )
    return cast("tuple[CountBy, ...]", tuple(several))


def count_headers(headers: Iterable[Header], facts: tuple[CountBy, ...]) -> Counts:
    """Count headers one by one, for handlers that cannot count by themselves."""
    return dict(Counter(facts_of(header, facts) for header in headers))


def facts_of(header: Header, facts: tuple[CountBy, ...]) -> tuple[str | None, ...]:
    """The values of some facts of a run."""
    return tuple(_FACTS[fact](header) for fact in facts)


def day_number(seconds: float) -> int | None:
    """The day of a time in UTC, counted from 1970-01-01. None where the time is unknown."""
    return math.floor(seconds / 86400) if seconds else None


def day_text(number: int | None) -> str | None:
    """Such a day as text, as in "2026-11-30". None for one that no calendar has."""
    if number is None or not date.min.toordinal() <= _EPOCH + number <= date.max.toordinal():
        return None
    return date.fromordinal(_EPOCH + number).isoformat()


_FACTS: Mapping[CountBy, Callable[[Header], str | None]] = {
    "status": lambda header: header.status,
    "step": lambda header: header.next_step,
    "error": error_type,
    "day": lambda header: day_text(day_number(header.written_at)),
}


def with_all_statuses(counts: dict[str | None, int]) -> dict[str, int]:
    """Add the statuses of which there is no run."""
    found = {str(status): count for status, count in counts.items()}
    return dict.fromkeys(get_args(Status), 0) | found
