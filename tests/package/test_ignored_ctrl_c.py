"""The tests that press Ctrl-C pass where the process starts with SIGINT ignored.

A background job of a script, and its children, start so.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from locations import ROOT, TESTS

if TYPE_CHECKING:
    from pathlib import Path

FILES = [
    "concurrency/test_lost_tasks.py",
    "engine/cancellation/test_cancel_details.py",
    "engine/cancellation/test_ctrl_c.py",
    "engine/retries/test_retry_interrupted.py",
    "handlers/sqlite/test_sqlite_ctrl_c.py",
]
CHOSEN = "signal_in_a_part or ctrl_c and not some_lines"
IN_BACKGROUND = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.skipif(os.name != "posix", reason="POSIX only")
def test_ctrl_c_is_pressed_in_a_background_job(tmp_path: Path) -> None:
    """Each of them passes, and none is skipped."""
    options = ["-q", "-k", CHOSEN, "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'tests'}"]
    files = [str(TESTS / name) for name in FILES]
    command = [sys.executable, "-c", IN_BACKGROUND, "-m", "pytest", *options, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
