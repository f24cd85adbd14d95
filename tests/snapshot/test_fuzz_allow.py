"""Random streams under `allow=`: a documented error or a state, and nothing listed is changed."""

from __future__ import annotations

from fuzzed_streams import fuzz


def test_random_streams() -> None:
    """Random programs and mutations of sound and hostile ones change nothing and crash nothing."""
    loaded, refused = fuzz(1, 800)
    assert loaded > 100
    assert refused > 100
