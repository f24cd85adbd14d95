"""Runs cancelled in every way at random times, again and again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from random_cancels import WAYS, cancel_until_it_ends
from suspension_points import Subject

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["coroutines", "threads", "own"])
def test_cancelled_at_random_times(kind: str, way: str, tmp_path: Path) -> None:
    """Whatever cancels runs, at whatever times: one cancellation each, and each run resumes."""
    subject = Subject(tmp_path / "checkpoint.pkl", kind)
    rng = random.Random(f"{kind} {way}")  # noqa: S311
    assert cancel_until_it_ends(subject, "plain", way, rng) > 1
