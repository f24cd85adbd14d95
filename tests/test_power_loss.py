"""The power goes off: what was acknowledged is stored. A hundred times: torture/."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from power import KINDS, Disk
from power_rounds import check_firsts, check_runs, cut_power, disk, lost

from aiocheckpoint import LocalStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["disk"]  # the fixture

pytestmark = [pytest.mark.root, pytest.mark.leaves_files]
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_runs(kind: str, disk: Callable[[str], Disk]) -> None:
    """A flow goes on from the newest snapshot acknowledged, or the one after, to the same end."""
    check_runs(cut_power(disk(kind), "run", "fsync", rounds=6, seed=1))


@every_kind
def test_first_snapshots(kind: str, disk: Callable[[str], Disk]) -> None:
    """A first snapshot that is acknowledged is there, and so are the directories made for it."""
    check_firsts(cut_power(disk(kind), "first", "fsync", rounds=3, seed=2))


@every_kind
@pytest.mark.parametrize("word", ["run", "first"])
def test_work_is_lost_without_fsync(kind: str, word: str, disk: Callable[[str], Disk]) -> None:
    """Without fsync acknowledged work is lost: the cuts are real, and these tests would see it."""
    assert lost(word, cut_power(disk(kind), word, "no-fsync", rounds=3, seed=3))


@every_kind
@pytest.mark.parametrize("durable", ["fsync", "no-fsync"])
def test_renamed_and_not_written(durable: str, kind: str, disk: Callable[[str], Disk]) -> None:
    """Where the log goes out and the data does not, fsync alone keeps the file from being empty.

    The log goes out with the flush of any other file.
    """
    made = disk(kind)
    path, other = made.place / "checkpoint.pkl", made.place / "other"
    LocalStateHandler(path).write({"n": 1})
    LocalStateHandler(path, fsync=durable == "fsync").write({"n": 2})
    LocalStateHandler(other).write({})
    made.cut()
    made.unmount()
    made.mount()
    kept = LocalStateHandler(path).read()
    assert kept == ({"n": 2, "checkpoint_index": 0} if durable == "fsync" else {})
    assert (path.stat().st_size == 0) is (durable == "no-fsync")
