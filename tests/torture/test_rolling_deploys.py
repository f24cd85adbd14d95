"""Deploys that replace processes of 0.5.0 by ones of this release, and back, many times."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from rolling_deploys import NEW, OLD, roll_out

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.torture, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("durable", ["fsync", "no-fsync"])
@pytest.mark.parametrize("kind", ["sqlite", "directory"])
def test_many_deploys(kind: str, durable: str, tmp_path: Path) -> None:
    """In any order of releases, nothing is lost, and nothing done twice."""
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        releases = random.choices([OLD, NEW], k=10)  # noqa: S311 - no secret
        roll_out(folder, kind, durable, 300, releases)
