"""Three processes that execute five hundred runs, each killed ten times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kill_checks import needs_fork
from killed_workers import LOCATIONS, run_killed_workers

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1200), needs_fork]


@pytest.mark.parametrize("durable", ["fsync", "no-fsync"])
@pytest.mark.parametrize("kind", LOCATIONS)
def test_killed_swarm(kind: str, durable: str, tmp_path: Path) -> None:
    """Under repeated kills every run ends once, and no acknowledged step runs again."""
    run_killed_workers(tmp_path, kind, durable, 500, 3, 10)
