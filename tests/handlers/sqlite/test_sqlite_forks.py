"""A forked child uses a database as another process does, whatever its parent does."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from kill_checks import needs_fork
from locations import program

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = program("fork_sqlite_script.py")
PATIENCE = 60.0


@needs_fork
@pytest.mark.leaves_files
@pytest.mark.parametrize(
    ("way", "children"), [("closed", 1), ("ended", 1), ("kept", 1), ("busy", 8)]
)
def test_forked_child(way: str, children: int, tmp_path: Path) -> None:
    """The child runs and lists, also where the parent has closed the database or is gone."""
    path = tmp_path / "runs.db"
    command = [sys.executable, "-W", "ignore", str(SCRIPT), str(path), way]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ok"] * children
    cp = CheckpointFlow(path, "sqlite", name="f")
    deadline = time.monotonic() + PATIENCE
    while True:
        found = {header.run_id: header.status for header in cp.runs()}
        if f"child {children - 1}" in found or time.monotonic() > deadline:
            break
    cp.handler.close()
    assert {f"child {number}" for number in range(children)} <= found.keys()
    assert set(found.values()) == {"finished"}
