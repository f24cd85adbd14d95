"""Ctrl-C on the lines of the library, in a program of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from locations import program, with_support

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = program("ctrl_c_script.py")
FEWEST_LINES = 300


def check_ctrl_c_on_lines(kind: str, stride: int, place: Path) -> None:
    """Check that Ctrl-C on every so many lines of `run` is raised, and that the run resumes."""
    command = [sys.executable, "-W", "ignore", str(SCRIPT), kind, str(stride), str(place)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=with_support())
    assert ended.returncode == 0, ended.stderr
    *wrong, last = ended.stdout.splitlines()
    assert wrong == []
    assert int(last.split()[0]) > FEWEST_LINES
