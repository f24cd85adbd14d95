"""A process that is killed behind `migrate` and before the next snapshot."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from locations import program

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("place", ["sqlite:///{}/runs.db", "{}/runs/"])
def test_migrated_again_from_the_stored_state(place: str, tmp_path: Path) -> None:
    """The next process calls `migrate` again, on the state that the older release stored."""
    (tmp_path / "runs").mkdir()
    for version, how in (1, "die"), (2, "die"), (2, "live"):
        words = [place.format(tmp_path), tmp_path / "log", version, how]
        line = [sys.executable, *map(str, [program("release_script.py"), *words])]
        ended = subprocess.run(line, stderr=subprocess.PIPE, text=True, check=False)
        assert ended.returncode == (-signal.SIGKILL if how == "die" else 0), ended.stderr
    assert (tmp_path / "log").read_text("ascii").splitlines() == [
        "fetch ['name']",
        "charge ['name']",
        *(["migrate ['name'] 1", "pay ['who']"] * 2),
    ]
