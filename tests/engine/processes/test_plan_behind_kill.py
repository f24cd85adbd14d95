"""The plan of a run whose last process was killed tells of that one, and not of the end before."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

PROGRAM = """
import os, sys
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow(sys.argv[1], name="pages", fsync=False)
cp.add_step(name="upload")(lambda state: os._exit(9))
cp.resume("p1")
"""
LOST = "the last run recorded no end there, as where its process is killed"


@pytest.mark.parametrize("place", ["runs/", "sqlite:///pages.db"])
def test_killed_behind_an_interrupt(
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is so in the plan, which claims nothing, and in the log of the run that goes on."""
    monkeypatch.chdir(tmp_path)
    cp = CheckpointFlow(place, name="pages", fsync=False)

    @cp.add_step()
    def upload(state: State) -> None:
        if not state:
            state["begun"] = True
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cp.run({}, run_id="p1")
    assert cp.plan(run_id="p1").reason == "the last run was cancelled in 'upload' (step)"
    ended = subprocess.run([sys.executable, "-c", PROGRAM, place], check=False)
    assert ended.returncode == 9
    assert cp.plan(run_id="p1").reason == LOST
    assert cp.plan(run_id="p1", checkpoint="upload").reason == "checkpoint='upload' says so"
    with caplog.at_level(logging.INFO, "aiocheckpoint"), pytest.raises(KeyboardInterrupt):
        cp.resume("p1")
    assert sum(LOST in message for message in caplog.messages) == 1
    assert cp.plan(run_id="p1").reason == "the last run was cancelled in 'upload' (step)"
