"""Processes that do many runs together and are killed: each run ends once, no step is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kill_checks import needs_fork
from killed_workers import LOCATIONS, run_killed_workers

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_fork


@pytest.mark.parametrize("kind", LOCATIONS)
def test_killed_swarm(kind: str, tmp_path: Path) -> None:
    """Two processes, killed and restarted, do sixty runs, and repeat no acknowledged step."""
    run_killed_workers(tmp_path, kind, "fsync", 60, 2, 2)
