"""Kills at any moment: the old or the new snapshot is stored, and no acknowledged one is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kill_checks import kill_chains, kill_runs, kill_writers, needs_fork

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.leaves_files, needs_fork]
durable_or_not = pytest.mark.parametrize("durable", ["fsync", "no-fsync"])
both_runners = pytest.mark.parametrize("method", ["run", "arun"])


@durable_or_not
def test_killed_writers(durable: str, tmp_path: Path) -> None:
    """After each kill the last acknowledged state or the next one is stored, and nothing else."""
    kill_writers(tmp_path, durable, 25)


@durable_or_not
@both_runners
def test_killed_runs(method: str, durable: str, tmp_path: Path) -> None:
    """A run killed again and again finishes like an undisturbed run."""
    assert kill_runs(tmp_path / "place", method, durable) > 0


@both_runners
def test_killed_resumes(method: str, tmp_path: Path) -> None:
    """Killed on any line, then again in the resume, and once more, a run loses no snapshot."""
    assert kill_chains(tmp_path, method, seed=1, chains=25) > 40
