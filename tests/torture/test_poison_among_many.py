"""A run that kills its process, among two hundred healthy ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from poison import check_poison

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.torture
@pytest.mark.leaves_files
def test_two_hundred_healthy_runs(tmp_path: Path) -> None:
    """All of them finish, none is ended, and none is killed more than twice at its step."""
    check_poison(tmp_path, healthy=200, seconds=0.5, limit=100, wait=600)
