"""Ten deploys of three versions of a flow, in any order, under the load of a thousand runs."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from version_deploys import LOCATIONS, deploy_versions

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("durable", ["fsync", "no-fsync"])
@pytest.mark.parametrize("kind", LOCATIONS)
def test_ten_deploys(kind: str, durable: str, tmp_path: Path) -> None:
    """Old and new workers side by side: every run ends once, and no step is left out."""
    versions = [*random.choices([1, 2, 3], k=9), 3]  # noqa: S311 - no secret
    deploy_versions(tmp_path, kind, durable, 1000, versions)
