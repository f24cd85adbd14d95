"""Processes that do many runs together and are killed: each run ends once, no step is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kill_checks import needs_fork
from killed_workers import PLACES, run_killed_workers

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_fork


@pytest.mark.parametrize("kind", PLACES)
def test_killed_swarm(kind: str, tmp_path: Path) -> None:
    """Killed and started again, two processes do sixty runs, and no acknowledged step again."""
    run_killed_workers(tmp_path, kind, "fsync", 60, 2, 2)
