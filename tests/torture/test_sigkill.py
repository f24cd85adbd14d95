"""Thousands of kills, at random moments and on random lines of the library."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kill_checks import kill_chains, kill_runs, kill_writers, needs_fork

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.torture,
    pytest.mark.timeout(1200),
    pytest.mark.leaves_files,
    needs_fork,
]
durable_or_not = pytest.mark.parametrize("durable", ["fsync", "no-fsync"])
both_runners = pytest.mark.parametrize("method", ["run", "arun"])


@durable_or_not
def test_killed_writers(durable: str, tmp_path: Path) -> None:
    """After each kill the last acknowledged state is stored or the one after, and nothing else."""
    kill_writers(tmp_path, durable, 1000)


@durable_or_not
@both_runners
def test_killed_runs(method: str, durable: str, tmp_path: Path) -> None:
    """However often runs are killed, each comes to its end as if nothing had happened."""
    kills, number = 0, 0
    while kills < 250:
        kills += kill_runs(tmp_path / str(number) / "place", method, durable)
        number += 1


@pytest.mark.parametrize("seed", [11, 12, 13])
@both_runners
def test_killed_resumes(method: str, seed: int, tmp_path: Path) -> None:
    """Killed on any line, when resumed again, and once more: no run loses what was stored."""
    assert kill_chains(tmp_path, method, seed, chains=500) > 1000
