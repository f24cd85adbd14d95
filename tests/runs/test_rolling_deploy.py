"""A deploy that replaces processes of 0.5.0 by ones of this release, and back, on one store."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from rolling_deploys import NEW, OLD, installed, roll_out

if TYPE_CHECKING:
    from pathlib import Path


def test_releases_are_what_they_say(tmp_path: Path) -> None:
    """The processes import the release that they should."""
    for release, path in installed(tmp_path).items():
        code = "import aiocheckpoint as a; print(a.__version__, a.__file__)"
        line = [sys.executable, "-c", code]
        said = subprocess.check_output(line, env={"PYTHONPATH": path}, text=True)
        version, file = said.split()
        assert (version, file.startswith(path)) == (release, True)


@pytest.mark.parametrize("kind", ["sqlite", "directory"])
def test_nothing_is_lost_or_done_twice(kind: str, tmp_path: Path) -> None:
    """Under load, with kills, each run ends once, and a step is repeated after a kill alone."""
    roll_out(tmp_path, kind, "no-fsync", 100, [NEW, OLD, NEW])
