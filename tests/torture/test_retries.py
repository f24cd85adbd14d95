"""Retried and paused runs that keep their data, killed at hundreds of random moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kill_checks import kill_trials, needs_fork

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.torture,
    pytest.mark.timeout(1200),
    pytest.mark.leaves_files,
    needs_fork,
]


@pytest.mark.parametrize("kind", ["file", "sqlite"])
@pytest.mark.parametrize("method", ["run", "arun"])
@pytest.mark.parametrize("seed", [21, 22])
def test_killed_trials(kind: str, method: str, seed: int, tmp_path: Path) -> None:
    """However often it is killed, each run ends as an undisturbed one."""
    assert kill_trials(tmp_path, kind, method, seed, 60) > 30
