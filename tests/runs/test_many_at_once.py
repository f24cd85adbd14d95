"""A thousand keyed runs in one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from killed_workers import LOCATIONS
from many_at_once import do_many

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", LOCATIONS)
async def test_thousand_runs_in_one_process(kind: str, tmp_path: Path) -> None:
    """All of them run side by side, and each is stored separately."""
    await do_many(LOCATIONS[kind].format(tmp_path), 1000)
