"""Pauses between tries grow to a limit, however many tries fail."""

from __future__ import annotations

import pytest

from aiocheckpoint._concurrency.pauses import doubled_pause


@pytest.mark.parametrize(
    ("doublings", "seconds"), [(0, 0.05), (1, 0.1), (4, 0.8), (5, 1.0), (10**6, 1.0)]
)
def test_pause_is_doubled(doublings: int, seconds: float) -> None:
    """Each failure doubles the pause, up to the longest one."""
    assert doubled_pause(0.05, doublings, 1.0) == seconds
