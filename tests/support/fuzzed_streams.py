"""Runs the program that loads random streams under `allow=`."""

from __future__ import annotations

import json
import subprocess
import sys

from locations import program

MOST_SECONDS = 5


def fuzz(seed: int, count: int) -> tuple[int, int]:
    """Load random streams in another process; give how many were loaded and refused."""
    command = [sys.executable, str(program("fuzz_allow_script.py")), str(seed), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["longest"] < MOST_SECONDS
    return found["loaded"], found["refused"]
