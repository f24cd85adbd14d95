"""Times as people write and read them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from order_store import NOW

from aiocheckpoint._cli.problems import UsageProblem
from aiocheckpoint._cli.times import parse_duration, parse_time
from aiocheckpoint._display.times import ago, clock

pytestmark = pytest.mark.usefixtures("at_quarter_to")

DURATIONS = {"90s": 90, "2h": 7_200, "30d": 2_592_000, "1h30m": 5_400, "1.5m": 90, "1w": 604_800}
NO_DURATIONS = ["", "2", "h", "2 h", "2y", "-2h", "2h3", "1e3s", "999999999999d", "\uff12h"]
TIMES = {
    "2h": NOW - 7_200,
    "2026-11-30": NOW - 38_700,
    "2026-11-30T10:45:00": NOW,
    "2026-11-30T10:45:00Z": NOW,
    "2026-11-30T11:45:00+01:00": NOW,
    "2026-11-30 10:45": NOW,
}
NO_TIMES = ["", "soon", "2026-13-01", "10:45", "99999-01-01"]
CLOCKS = {
    NOW: "10:45:00",
    NOW - 86_400: "Nov 29 10:45",
    NOW - 400 * 86_400: "2025-10-26",
    0.0: "-",
    1e30: "?",
    float("nan"): "?",
}
AGES = {
    NOW: "0 s ago",
    NOW - 59.9: "59 s ago",
    NOW - 3_599: "59 min ago",
    NOW - 86_399: "23 h ago",
    NOW - 1e6: "11 d ago",
    NOW + 61: "in 1 min",
    0.0: "-",
    float("inf"): "?",
    float("nan"): "?",
}


@pytest.mark.parametrize("text", DURATIONS)
def test_durations(text: str) -> None:
    """A duration is a number with a unit, or several."""
    assert parse_duration(text) == timedelta(seconds=DURATIONS[text])


@pytest.mark.parametrize("text", NO_DURATIONS)
def test_no_durations(text: str) -> None:
    """Anything else is refused by name."""
    with pytest.raises(UsageProblem, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", TIMES)
def test_times(text: str) -> None:
    """A time is how long ago, a date, or a time of RFC 3339."""
    assert parse_time(text) == TIMES[text]


@pytest.mark.parametrize("text", NO_TIMES)
def test_no_times(text: str) -> None:
    """Anything else is refused by name."""
    with pytest.raises(UsageProblem, match="is no time"):
        parse_time(text)


@pytest.mark.parametrize("at", CLOCKS, ids=str)
def test_clock(at: float) -> None:
    """A time of today has no date. A header may hold any number."""
    assert clock(at) == CLOCKS[at]


@pytest.mark.parametrize("at", AGES, ids=str)
def test_ago(at: float) -> None:
    """An age is in its largest unit."""
    assert ago(at) == AGES[at]
