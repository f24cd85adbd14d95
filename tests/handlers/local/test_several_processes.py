"""Several processes use one checkpoint at once: racing runs, a reader and a writer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from racing import race, read_while_written

if TYPE_CHECKING:
    from pathlib import Path

every_place = pytest.mark.parametrize("name", ["c.pkl", "runs.db"])


@every_place
@pytest.mark.parametrize("racers", [2, 3])
def test_one_of_those_released_together_runs(racers: int, name: str, tmp_path: Path) -> None:
    """Of processes that start at the same moment, exactly one runs."""
    race(tmp_path / name, 60, racers)


@every_place
@pytest.mark.parametrize("durable", ["fsync", "no-fsync"])
@pytest.mark.parametrize("operation", ["store", "steps"])
def test_reader_sees_whole_snapshots_only(
    operation: str, durable: str, name: str, tmp_path: Path
) -> None:
    """A reader beside a writing process gets whole snapshots, and never an older one again."""
    seen = read_while_written(tmp_path / name, operation, durable, 100)
    assert seen > 2  # More than the first and the last. A busy machine leaves the reader few turns.
