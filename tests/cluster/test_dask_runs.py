"""Runs on a cluster of Dask, whose workers are killed: each ends once, with its keys."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from engine_runs import EngineRuns
from locations import program

if TYPE_CHECKING:
    from pathlib import Path

LONG = [pytest.mark.torture, pytest.mark.timeout(600)]


def execute(runs: EngineRuns, script: str, *words: object) -> str:
    """Execute a program with the runs, and give what it prints."""
    command = [sys.executable, str(program(script)), *map(str, words)]
    done = subprocess.run(
        command, env=runs.process_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-10_000:]
    return done.stdout


@pytest.mark.parametrize(
    ("count", "kills", "threads"),
    [(60, 3, 4), pytest.param(500, 25, 1, marks=LONG), pytest.param(500, 25, 4, marks=LONG)],
)
def test_killed_cluster(
    shared_store: str, tmp_path: Path, count: int, kills: int, threads: int
) -> None:
    """The loss of a worker is not the failure of a run, and repeats few steps."""
    runs = EngineRuns(tmp_path, shared_store, count, options={"lease": 6.0})
    execute(runs, "dask_runs_script.py", "runs", count, kills, threads)
    runs.check().check_repeated(kills, threads)


@pytest.mark.torture
@pytest.mark.timeout(600)
@pytest.mark.parametrize("threads", [1, 4])
def test_killed_cluster_without_checkpoints(tmp_path: Path, threads: int) -> None:
    """The same work as chains of tasks repeats many finished steps."""
    runs = EngineRuns(tmp_path, "none", 500)
    execute(runs, "dask_runs_script.py", "bare", 500, 25, threads)
    times = runs.times()
    times.report(25)
    assert times.again[1] > 25


@pytest.mark.parametrize("lost", ["scheduler", "sender"])
def test_lost_tasks(tmp_path: Path, lost: str) -> None:
    """With their scheduler all tasks are lost, and no finished step. The next call goes on."""
    runs = EngineRuns(tmp_path, f"sqlite:///{tmp_path}/runs.db", 40)
    execute(runs, "dask_loss_script.py", lost, 40)
    runs.check()
