"""Processes of `aiocheckpoint work` that are killed: each run ends once, with its keys."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from engine_runs import EngineRuns, Host, WorkProcesses, await_true, kill_at_random

if TYPE_CHECKING:
    from pathlib import Path

PROCESSES = 3
LONG = [pytest.mark.torture, pytest.mark.timeout(600)]


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of each kind of store in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/runs.db"
    return str(request.getfixturevalue("database_url"))


@pytest.mark.parametrize(
    ("count", "kills", "at_once"),
    [(60, 3, 4), pytest.param(500, 25, 1, marks=LONG), pytest.param(500, 25, 4, marks=LONG)],
)
def test_killed_workers(store: str, tmp_path: Path, count: int, kills: int, at_once: int) -> None:
    """Three workers, killed again and again, end each run once, and repeat few steps."""
    runs = EngineRuns(tmp_path, store, count)
    runs.submit()
    hosts = [Host(store)] * PROCESSES
    with closing(WorkProcesses(runs.environment, at_once, hosts)) as workers:
        workers.start()
        kill_at_random(runs, workers.kill, kills, PROCESSES)
        await_true(runs.finished)
        workers.drain()
    runs.check().check_repeated(kills, at_once)
