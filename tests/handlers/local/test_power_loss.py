"""The power goes off: what was acknowledged is stored. A hundred times: torture/."""

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
    """A flow goes on from the newest snapshot acknowledged, or the one after, to the same end."""
    check_runs(cut_power(disk(kind), "run", "fsync", rounds=6, seed=1))


@every_kind
def test_runs_in_a_database(kind: str, disk: Callable[[str], Disk]) -> None:
    """The same holds where the flow is kept in SQLite."""
    check_runs(cut_power(disk(kind), "database", "fsync", rounds=6, seed=4))


@every_kind
def test_first_snapshots(kind: str, disk: Callable[[str], Disk]) -> None:
    """A first snapshot that is acknowledged is there, and so are the directories made for it."""
    check_firsts(cut_power(disk(kind), "first", "fsync", rounds=3, seed=2))


@every_kind
@pytest.mark.parametrize("word", ["run", "database", "first"])
def test_work_is_lost_without_fsync(kind: str, word: str, disk: Callable[[str], Disk]) -> None:
    """Without fsync acknowledged work is lost: the cuts are real, and these tests would see it."""
    assert lost(word, cut_power(disk(kind), word, "no-fsync", rounds=2, seed=3))


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
    """A disk that goes away between the rename and the flush after it is not written to durably.

    XFS drops what it has not logged when it shuts down, and then finds nothing to flush in the
    directory: its flush succeeds. A run that takes that at its word ends well, and all is lost.
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
