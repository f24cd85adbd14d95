"""Counts of runs by status or by step."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, cast, get_args

from aiocheckpoint._model.header import Status
from aiocheckpoint.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiocheckpoint._model.header import Header

__all__ = ["CountBy", "checked_by", "count_headers", "with_all_statuses"]

CountBy = Literal["status", "step"]
"""The facts of runs that counts are made by."""


def checked_by(by: object) -> CountBy | None:
    """Return `by` if runs can be counted by it.

    Raises:
        InvalidValueError: They cannot.
    """
    if by is None or by in get_args(CountBy):
        return cast("CountBy | None", by)
    known = " or ".join(f"by={one!r}" for one in get_args(CountBy))
    raise InvalidValueError(f"by={by!r}: runs are counted {known}, or without by=.")


def count_headers(headers: Iterable[Header], by: CountBy) -> dict[str | None, int]:
    """Count headers one by one, for handlers that cannot count by themselves."""
    counts: Counter[str | None] = Counter()
    for header in headers:
        counts[header.status if by == "status" else header.next_step] += 1
    return dict(counts)


def with_all_statuses(counts: dict[str | None, int]) -> dict[str, int]:
    """Add the statuses of which there is no run."""
    found = {str(status): count for status, count in counts.items()}
    return dict.fromkeys(get_args(Status), 0) | found
