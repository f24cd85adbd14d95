"""`RunInProgressError` says so where the owner is this very process, or its parent."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from locations import program

from aiocheckpoint import CheckpointFlow, RunInProgressError

if TYPE_CHECKING:
    from pathlib import Path

    from support import Runner, State

GUARD = 'if __name__ == "__main__":'
HOST = socket.gethostname()


@pytest.mark.parametrize(
    ("way", "place", "owner"),
    [
        ("spawn", "c.pkl", "the parent of this process"),
        ("spawn", "sqlite:///{}/c.db", "the parent of this process"),
        ("forkserver", "c.pkl", "the parent of this process"),
        ("module", "sqlite:///{}/c.db", "this very process"),
    ],
)
def test_script_without_its_guard(way: str, place: str, owner: str, tmp_path: Path) -> None:
    """A worker that imports the script, and a step that does, are told of the guard."""
    path = place.format(tmp_path) if ":" in place else str(tmp_path / place)
    command = [sys.executable, str(program("unguarded_script.py")), path, way]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    (line,) = {line for line in ended.stderr.splitlines() if "is in use by" in line}
    assert f"is in use by {owner}, " in line
    assert GUARD in line


def test_run_in_its_own_step(any_runner: Runner, tmp_path: Path) -> None:
    """A step that runs its own flow reads that this very process is running it."""
    cp = CheckpointFlow(tmp_path / "c.pkl")

    @cp.add_step()
    def again(state: State) -> None:
        cp.run()

    with pytest.raises(RunInProgressError, match="this very process") as info:
        any_runner(cp)
    assert info.value.pid == os.getpid()
    assert "Another task, thread or step" in str(info.value)


@pytest.mark.parametrize(
    ("pid", "host"),
    [(os.getpid(), f"not-{HOST}"), (os.getppid(), f"not-{HOST}"), (None, None), (None, HOST)],
    ids=["same number elsewhere", "parent's number elsewhere", "unknown", "unknown number"],
)
def test_other_owners_are_named_as_before(pid: int | None, host: str | None) -> None:
    """The same number on another machine is another process."""
    text = str(RunInProgressError("c.pkl", pid=pid, host=host))
    assert "this" not in text.replace("this process", "")
    assert "in use by process" in text or "an unknown process" in text
