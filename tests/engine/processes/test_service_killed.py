"""Processes really killed in the middle of runs that retry, pause and resume."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from locations import program
from service_kill_script import IDS, NAMES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
SCRIPT = program("service_kill_script.py")
LONG = [pytest.mark.torture, pytest.mark.timeout(3600)]


@pytest.mark.leaves_files
@pytest.mark.parametrize("kind", ["runs.db", "runs/"])
@pytest.mark.parametrize("seeds", [1, pytest.param(100, marks=LONG)])
def test_killed_again_and_again(kind: str, seeds: int, tmp_path: Path) -> None:
    """After each kill the headers are true, and no acknowledged step runs again."""
    kills = 0
    for seed in range(seeds):
        place = tmp_path / str(seed)
        place.mkdir()
        command = [sys.executable, str(SCRIPT), f"{place}/{kind}", str(seed)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        *wrong, last = done.stdout.splitlines()
        assert wrong == []
        kills += int(last)
        check_effects((place / "runs.log").read_text("ascii").splitlines())
    assert kills > seeds


def check_effects(lines: list[str]) -> None:
    """Check that each step began with the stored state, and never after the next step."""
    assert {line.split(maxsplit=2)[2] for line in lines} == {"as it was"}
    for run_id in IDS:
        begun = [int(line.split()[1]) for line in lines if line.startswith(run_id)]
        assert begun == sorted(begun)
        assert {*begun} == {*range(len(NAMES))}
