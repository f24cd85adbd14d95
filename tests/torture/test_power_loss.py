"""The power goes off, a hundred times for each file system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from power import KINDS, Disk
from power_rounds import check_firsts, check_runs, cut_power, disk

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["disk"]  # the fixture

ROUNDS = 100
pytestmark = [
    pytest.mark.torture,
    pytest.mark.timeout(1800),
    pytest.mark.root,
    pytest.mark.leaves_files,
]
every_kind = pytest.mark.parametrize("kind", KINDS)
every_seed = pytest.mark.parametrize("seed", [11, 12, 13])


@every_kind
@every_seed
def test_runs(seed: int, kind: str, disk: Callable[[str], Disk]) -> None:
    """A flow resumes from the newest snapshot acknowledged, or the one after, to the same end."""
    check_runs(cut_power(disk(kind), "run", "fsync", rounds=ROUNDS, seed=seed))


@every_kind
@every_seed
def test_runs_in_a_database(seed: int, kind: str, disk: Callable[[str], Disk]) -> None:
    """The same holds for a flow in SQLite."""
    check_runs(cut_power(disk(kind), "database", "fsync", rounds=ROUNDS, seed=seed))


@every_kind
@every_seed
def test_first_snapshots(seed: int, kind: str, disk: Callable[[str], Disk]) -> None:
    """An acknowledged first snapshot is stored, in the directories made for it."""
    check_firsts(cut_power(disk(kind), "first", "fsync", rounds=ROUNDS, seed=seed))
