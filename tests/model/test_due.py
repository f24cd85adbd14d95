"""When a run is due: by its status and time, after a failure, and by the argument `due=`."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocheckpoint import Header, InvalidTypeError, InvalidValueError
from aiocheckpoint._model.due import backoff_seconds, checked_due, due_at, is_due

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Status

CASES: list[tuple[Status, dict[str, Any], float | None]] = [
    ("queued", {}, 0.0),
    ("queued", {"due": 50.0}, 50.0),
    ("failed", {}, 0.0),
    ("failed", {"due": 50.0}, 50.0),
    ("cancelled", {"due": 50.0}, 50.0),
    ("running", {"due": 50.0}, 0.0),
    ("stopped", {}, 0.0),
    ("stopped", {"stopped_by": "drain"}, 0.0),
    ("stopped", {"stopped_by": "requeue"}, 0.0),
    ("stopped", {"stopped_by": "until"}, None),
    ("stopped", {"stopped_by": "patch"}, None),
    ("stopped", {"stopped_by": "something later"}, None),
    ("paused", {}, None),
    ("paused", {"due": 50.0}, 50.0),
    ("terminated", {"due": 50.0}, None),
    ("finished", {}, None),
]

ENDS_OF_TIME = [
    *(timedelta(0), timedelta.max),
    *(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
]


@pytest.mark.parametrize(("status", "facts", "expected"), CASES)
def test_statuses(status: Status, facts: dict[str, Any], expected: float | None) -> None:
    """Each status has its rule. A run is due from its time on."""
    header = Header(flow="f", position=0, status=status, **facts)
    assert due_at(header) == expected
    assert is_due(header, 50.0) == (expected is not None)
    assert is_due(header, 49.9) == (expected == 0.0)


@given(st.integers(1, 10_000), st.floats(0, 1e6).map(lambda seconds: round(seconds, 3)))
def test_backoff(starts: int, backoff: float) -> None:
    """It doubles with each start, with a jitter of a quarter, and is an hour at most."""
    seconds = backoff_seconds(starts, backoff)
    plain = min(2880.0, backoff * 2.0 ** min(starts - 1, 64))
    assert 0.75 * plain <= seconds <= min(1.25 * plain, 3600.0)


def test_backoff_of_runs_that_failed_together() -> None:
    """They are not all due at one time."""
    for starts in (1, 1000):
        assert len({backoff_seconds(starts, 10.0) for _ in range(20)}) > 1


def test_argument() -> None:
    """A timedelta counts from now on. A datetime is the time that it says, in whatever zone."""
    assert checked_due(None) is None
    before = time.time()
    due = checked_due(timedelta(hours=1))
    assert due is not None
    assert before + 3600 <= due <= time.time() + 3600
    zone = timezone(timedelta(hours=5))
    assert checked_due(datetime(2024, 2, 29, 17, tzinfo=zone)) == 1709208000.0
    assert checked_due(datetime(2024, 2, 29, 12, tzinfo=UTC)) == 1709208000.0


@pytest.mark.parametrize("due", ENDS_OF_TIME, ids=repr)
def test_ends_of_time(due: timedelta | datetime) -> None:
    """A time before the epoch is long past, and any later one is a number."""
    assert 0.0 <= (checked_due(due) or 0.0) < 1e15


@pytest.mark.parametrize("due", [5, 5.0, True, "tomorrow", date(2024, 2, 29), [1]], ids=repr)
def test_wrong_type(due: object) -> None:
    """Numbers are refused, since nobody knows whether they count from now on."""
    with pytest.raises(InvalidTypeError, match="timedelta from now on or a datetime"):
        checked_due(due)


def test_time_before_now() -> None:
    """A datetime may be past, as it may have been computed long ago. A timedelta is a mistake."""
    assert checked_due(datetime(1969, 1, 1, tzinfo=UTC)) == 0.0
    with pytest.raises(InvalidValueError, match="in the past"):
        checked_due(timedelta(seconds=-1))


def test_time_without_a_zone() -> None:
    """It is refused, with the remedy."""
    with pytest.raises(InvalidValueError, match=r"without a zone.*timezone\.utc"):
        checked_due(datetime(2024, 2, 29))  # noqa: DTZ001 - that is the point
