"""When recovery may take a run, and how long it waits after a failure."""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header

__all__ = ["TAKEN_AFTER", "Standing", "backoff_seconds", "checked_due", "due_at", "is_due"]

TAKEN_AFTER: frozenset[str | None] = frozenset({None, "drain", "requeue"})
"""The values of `stopped_by` after which recovery goes on with a stopped run. None is of 0.5."""

_LONGEST_BACKOFF = 3600.0
_JITTER = 0.25
_LONGEST_PLAIN = _LONGEST_BACKOFF / (1 + _JITTER)
"""Before the jitter, so that runs that have reached the end do not come together."""


class Standing(Protocol):
    """How a run stands: a header, or the view of one."""

    @property
    def status(self) -> str: ...
    @property
    def stopped_by(self) -> str | None: ...
    @property
    def due(self) -> float | None: ...


def due_at(header: Standing) -> float | None:
    """The time from which recovery may take a run, if no living process owns it.

    Args:
        header: Its header, or a view of it.

    Returns:
        Seconds since the epoch, 0.0 for at once, or None for a run that it never takes by itself.
    """
    match header.status:
        case "queued" | "failed" | "cancelled":
            return header.due or 0.0
        case "running":
            return 0.0
        case "stopped":
            return 0.0 if header.stopped_by in TAKEN_AFTER else None
        case "paused":
            return header.due
        case _:
            return None


def is_due(header: Header, now: float) -> bool:
    """Whether recovery may take a run at a time, if no living process owns it."""
    due = due_at(header)
    return due is not None and due <= now


def backoff_seconds(starts: int, backoff: float) -> float:
    """How long recovery leaves a run alone that failed or was cancelled.

    Args:
        starts: How often the run was started at the step, from 1.
        backoff: Seconds after the first start. Each further start doubles them.

    Returns:
        Seconds, at most 3600, with a jitter of a quarter, so that runs that failed together do not
        come together.
    """
    doublings = min(max(starts, 1) - 1, 64)
    seconds = min(backoff * 2.0**doublings, _LONGEST_PLAIN)
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret


def checked_due(due: object) -> float | None:
    """The time that a user means by `due=`.

    Args:
        due: A `timedelta` from now on, an aware `datetime`, or None.

    Returns:
        Seconds since the epoch, or None.

    Raises:
        InvalidTypeError: It is something else.
        InvalidValueError: The `datetime` has no time zone, or the `timedelta` is negative.
    """
    match due:
        case None:
            return None
        case timedelta() if due >= timedelta(0):
            return time.time() + due.total_seconds()
        case timedelta():
            raise InvalidValueError(f"due={due!r} is in the past. timedelta(0) is at once.")
        case datetime() if due.utcoffset() is not None:
            return max(due.timestamp(), 0.0)
        case datetime():
            raise InvalidValueError(
                "due= is a time without a zone, so it could be any of 24 hours. Give it one, as in "
                "datetime.now(timezone.utc) + timedelta(hours=1), or pass the timedelta alone."
            )
        case _:
            raise InvalidTypeError(
                "due= is a timedelta from now on or a datetime with a time zone, not a "
                f"{type(due).__name__}."
            )
