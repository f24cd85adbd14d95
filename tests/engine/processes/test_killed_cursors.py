"""A process that is killed in the midst of a step leaves its cursor to the next one."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from kill_checks import needs_fork
from locations import program, with_support

if TYPE_CHECKING:
    from pathlib import Path

KINDS = "file", "directory", "database"
PLACES = [*KINDS, *(f"signed {kind}" for kind in KINDS)]


@needs_fork
def test_killed_steps_go_on_at_their_cursor(tmp_path: Path) -> None:
    """Whatever the store, each attempt begins at the page at which the last one was killed."""
    script = program("cursor_kill_script.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path, *PLACES],
        capture_output=True,
        text=True,
        check=False,
        env=with_support(),
    )
    assert done.returncode == 0, done.stderr
    given = [None, {"page": 1}, {"page": 2}, {"page": 3}]
    assert json.loads(done.stdout) == {place: {"given": given, "left": False} for place in PLACES}
