"""Processes of `aiocheckpoint work` that are killed: each run ends once, with its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from engine_kills import await_true, kill_at_random
from engine_runs import EngineRuns, Host, WorkProcesses

if TYPE_CHECKING:
    from pathlib import Path

PROCESSES = 3
LONG = [pytest.mark.torture, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    ("count", "kills", "at_once"),
    [(60, 3, 4), pytest.param(500, 25, 1, marks=LONG), pytest.param(500, 25, 4, marks=LONG)],
)
def test_killed_workers(
    shared_store: str, tmp_path: Path, count: int, kills: int, at_once: int
) -> None:
    """Three workers, killed again and again, end each run once, and repeat few steps."""
    runs = EngineRuns(tmp_path, shared_store, count, options={"lease": 6.0})
    runs.submit()
    hosts = [Host(shared_store)] * PROCESSES
    with WorkProcesses(tmp_path / "said", runs.environment, at_once, hosts) as workers:
        kill_at_random(runs.log, count, kills, PROCESSES, workers.kill)
        await_true(runs.finished)
        workers.drain()
    runs.check().check_repeated(kills, at_once)
