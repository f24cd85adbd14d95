"""Lengths of time and amounts as texts. Each has one form."""

from __future__ import annotations

import pytest

from aiocheckpoint._display.figures import amount_shown
from aiocheckpoint._display.folding import places_kept
from aiocheckpoint._display.times import (
    about_left,
    passed_and_left,
    stopwatch,
    took,
    took_exactly,
)

LENGTHS = {
    0.0312: ("0.03 s", "0.031 s", "0:00"),
    10.004: ("10.0 s", "10.004 s", "0:10"),
    119.0: ("119.0 s", "119.000 s", "1:59"),
    130.0: ("2 min 10 s", "2 min 10 s", "2:10"),
    4_000.0: ("1 h 6 min", "1 h 6 min", "1:06:40"),
    -1.0: ("?", "?", "0:00"),
    1e300: ("?", "?", "?"),
    float("nan"): ("?", "?", "?"),
}
AMOUNTS: dict[tuple[float, float | None, str | None], str] = {
    (0.25, 1, "GB"): "0.25/1 GB",
    (1_240, 2_000, "rows"): "1,240/2,000 rows",
    (99.5, None, None): "99.50 done",
    (1_234.56, None, None): "1,234.6 done",
    (2e300, float("inf"), None): "2e+300/?",
    (1, None, "rows\nmore"): "1 rows",
}


@pytest.mark.parametrize("seconds", LENGTHS)
def test_lengths(seconds: float) -> None:
    """A length is shown to three digits, to the millisecond, and as a clock."""
    assert (took(seconds), took_exactly(seconds), stopwatch(seconds)) == LENGTHS[seconds]


def test_time_left() -> None:
    """A text tells it in its largest unit, and a bar beside the clock of what has passed."""
    words = "about 25 s left", "about 4 min left", "about 2 h left"
    assert tuple(map(about_left, (25.0, 240.0, 7_000.0))) == words
    assert passed_and_left(41.0, 24.7) == "0:41, about 0:25 left"
    assert passed_and_left(41.0, None) == "0:41"
    assert passed_and_left(None, 24.7) == "about 0:25 left"


@pytest.mark.parametrize("amount", AMOUNTS, ids=str)
def test_amounts(amount: tuple[float, float | None, str | None]) -> None:
    """A small number has two decimals, and a huge one its first digits."""
    assert amount_shown(*amount) == AMOUNTS[amount]


@pytest.mark.parametrize("most", [3, 4, 12, 24])
@pytest.mark.parametrize("at", [None, 0, 50, 99])
def test_folding(at: int | None, most: int) -> None:
    """Both ends stay, and the place that matters, and not more than there is room for."""
    kept = places_kept(100, at, most)
    shown = [place for place in range(100) if place in kept]
    assert len(shown) <= most
    assert {0, 99, *([] if at is None else [at])} <= set(shown)
