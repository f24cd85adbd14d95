"""Runs cancelled in every way at random times, on every loop, for long."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from random_cancels import WAYS, cancel_large_writes, cancel_until_it_ends
from suspension_points import LOOPS, Subject, warm_uvloop

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1200)]


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    warm_uvloop()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["coroutines", "threads", "own"])
@pytest.mark.parametrize("loop", LOOPS)
def test_cancelled_at_random_times(loop: str, kind: str, way: str, tmp_path: Path) -> None:
    """Whatever cancels runs, at whatever times: one cancellation each, and each run resumes."""
    rng = random.Random(f"{loop} {kind} {way}")  # noqa: S311
    cancelled = 0
    for number in range(30):
        subject = Subject(tmp_path / str(number) / "checkpoint.pkl", kind)
        cancelled += cancel_until_it_ends(subject, loop, way, rng)
    assert cancelled > 30


@pytest.mark.parametrize("seed", range(3))
def test_large_state_cancelled_at_random(seed: int, tmp_path: Path) -> None:
    """Wherever a large snapshot is cancelled, the run that begins at once has the last word."""
    rng = random.Random(seed)  # noqa: S311
    cancel_large_writes(tmp_path / "c.pkl", 250, rng)
