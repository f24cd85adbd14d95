"""The files that a process leaves beside a database, for every way to end."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import asyncio, os, signal, sys
from aiocheckpoint import CheckpointFlow

KEPT = []

def flow(path):
    cp = CheckpointFlow(path, handler="sqlite")

    @cp.add_step()
    async def once(state):
        state["pid"] = os.getpid()

    return cp

def main(path, method, end):
    cp = flow(path)
    if end == "kept":
        KEPT.append(cp)
    if end == "cycle":
        cp.itself = cp
    if method == "run":
        cp.run({}, run_id="x")
    else:
        asyncio.run(cp.arun({}, run_id="x"))
    cp.runs()
    if end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "raise":
        raise SystemExit(3)

main(*sys.argv[1:])
"""
CODES = {"kill": -signal.SIGKILL, "raise": 3}

posix_only = pytest.mark.skipif(os.name != "posix", reason="POSIX only")


def end_process(path: Path, method: str, end: str) -> None:
    """Run a flow in a process that ends in the given way."""
    command = [sys.executable, "-c", PROGRAM, str(path), method, end]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == CODES.get(end, 0), done.stderr


def names(path: Path) -> list[str]:
    """Return the names of the files there."""
    return sorted(one.name for one in path.parent.iterdir())


def count_owners(path: Path) -> int:
    """Count the rows of owners."""
    with closing(sqlite3.connect(path)) as connection:
        count: int = connection.execute("SELECT count(*) FROM owners").fetchone()[0]
    return count


@pytest.mark.parametrize(
    ("method", "end"),
    [("run", "local"), ("arun", "local"), ("arun", "kept"), ("run", "cycle"), ("run", "raise")],
)
def test_end_of_a_process(method: str, end: str, tmp_path: Path) -> None:
    """A process that exits leaves the database alone, even with references to the flow."""
    path = tmp_path / "runs.db"
    end_process(path, method, end)
    assert names(path) == ["runs.db"]
    assert count_owners(path) == 0


@posix_only
def test_files_of_a_killed_process_are_cleared_by_the_next(tmp_path: Path) -> None:
    """The next process deletes the files and rows that a killed process left."""
    path = tmp_path / "runs.db"
    for count in (1, 2, 3):
        end_process(path, "run", "kill")
        # Each has cleaned up after the previous one, and left its own.
        assert sum("-owner-" in name for name in names(path)) == 1, count
        assert count_owners(path) == 1
    end_process(path, "run", "local")
    assert names(path) == ["runs.db"]
    assert count_owners(path) == 0


@posix_only
def test_reading_leaves_nothing(tmp_path: Path) -> None:
    """A process that only reads or lists is no owner, and leaves no file after closing."""
    path = tmp_path / "runs.db"
    end_process(path, "run", "local")
    cp = CheckpointFlow(path, handler="sqlite")
    assert [header.run_id for header in cp.runs()] == ["x"]
    assert cp.read("x")["checkpoint_index"] == 0
    assert count_owners(path) == 0
    del cp
    assert names(path) == ["runs.db"]
