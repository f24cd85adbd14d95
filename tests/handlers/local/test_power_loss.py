"""A power loss keeps every acknowledged snapshot. torture/ repeats it a hundred times."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import traced_run_script
from disk_faults import SCRIPT
from power import KINDS, Disk
from power_rounds import check_firsts, check_runs, cut_power, disk, lost
from tracing import needs_strace, trace

from aiocheckpoint import LocalStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["disk"]  # the fixture

pytestmark = [pytest.mark.root, pytest.mark.leaves_files]
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_runs(kind: str, disk: Callable[[str], Disk]) -> None:
    """A flow resumes from the newest acknowledged snapshot or the next one, to the same result."""
    check_runs(cut_power(disk(kind), "run", "fsync", rounds=6, seed=1))


@every_kind
def test_runs_in_a_database(kind: str, disk: Callable[[str], Disk]) -> None:
    """The same holds for a flow in SQLite."""
    check_runs(cut_power(disk(kind), "database", "fsync", rounds=6, seed=4))


@every_kind
def test_first_snapshots(kind: str, disk: Callable[[str], Disk]) -> None:
    """An acknowledged first snapshot survives, with the directories made for it."""
    check_firsts(cut_power(disk(kind), "first", "fsync", rounds=3, seed=2))


@every_kind
@pytest.mark.parametrize("word", ["run", "database", "first"])
def test_work_is_lost_without_fsync(kind: str, word: str, disk: Callable[[str], Disk]) -> None:
    """Without fsync acknowledged work is lost. This shows that the power loss is effective."""
    assert lost(word, cut_power(disk(kind), word, "no-fsync", rounds=2, seed=3))


@every_kind
@pytest.mark.parametrize("durable", ["fsync", "no-fsync"])
def test_renamed_and_not_written(durable: str, kind: str, disk: Callable[[str], Disk]) -> None:
    """If the journal is written and the data is not, only fsync prevents an empty file.

    The fsync of any other file writes the journal.
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
    assert kept == ({"n": 2} if durable == "fsync" else {})
    assert (path.stat().st_size == 0) is (durable == "no-fsync")


@pytest.mark.strace
@needs_strace
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("xfs", marks=pytest.mark.xfail(reason="a flush of nothing left succeeds")),
        "ext4",
    ],
)
def test_cut_before_the_directory_is_flushed(
    kind: str, disk: Callable[[str], Disk], tmp_path: Path
) -> None:
    """A power loss between the rename and the directory's fsync is reported as an error.

    XFS drops its unwritten journal when it shuts down. The fsync of the directory then has nothing
    to write, and succeeds. A run that trusted it would end well, and lose its snapshots.
    """
    made = disk(kind)
    place = made.place / "place"
    place.mkdir()
    last_flush = "fsync:delay_enter=1s:when=8"
    handler = LocalStateHandler(place / "checkpoint.pkl")
    with ThreadPoolExecutor() as pool:
        traced = pool.submit(trace, [SCRIPT, place, "run", "fsync"], tmp_path / "log", last_flush)
        while not traced.done():
            header = handler.header()
            if header is not None and header.finished:
                made.cut()
                break
            time.sleep(0.01)
    assert json.loads(traced.result().stdout)["error"] == "NotDurableError"
    made.unmount()
    made.mount()
    assert handler.read() == {"trail": ["a", "b"], "checkpoint_index": 2}
    assert traced_run_script.make_flow(place, [], fsync=True).run()["trail"] == ["a", "b", "c"]
