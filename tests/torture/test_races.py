"""Processes at one checkpoint at the same time, for long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lock_processes import PATIENCE
from racing import race, read_while_written, take_turns

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1200)]
every_place = pytest.mark.parametrize("name", ["c.pkl", "runs.db"])


@every_place
@pytest.mark.parametrize("racers", [2, 3, 6])
def test_one_of_those_released_together_runs(racers: int, name: str, tmp_path: Path) -> None:
    """However processes start at the same moment, exactly one of them runs, a thousand times."""
    race(tmp_path / name, 1000, racers)


@every_place
@pytest.mark.parametrize("wait", [0.0, PATIENCE], ids=["refused", "waiting"])
def test_racing_processes_run_one_at_a_time(wait: float, name: str, tmp_path: Path) -> None:
    """Two processes that come and go, again and again: never both inside, and one gets in."""
    take_turns(tmp_path / name, 1000, wait)


@every_place
@pytest.mark.parametrize("durable", ["fsync", "no-fsync"])
@pytest.mark.parametrize("operation", ["store", "steps"])
def test_reader_sees_whole_snapshots_only(
    operation: str, durable: str, name: str, tmp_path: Path
) -> None:
    """Whoever reads while another process writes gets a whole snapshot, never an older one."""
    assert read_while_written(tmp_path / name, operation, durable, 2000) > 200
