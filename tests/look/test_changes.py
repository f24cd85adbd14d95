"""The look whether a store has changed: no change of any process is missed, nothing is written."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aiocheckpoint import CheckpointFlow
from aiocheckpoint.look import _changes
from aiocheckpoint.look._changes import (
    Changes,
    files_of_database,
    files_of_directory,
    files_of_run,
)

State = dict[str, Any]
OLD = 1_000_000_000


def make_flow(place: str) -> CheckpointFlow:
    """A flow of one step that counts."""
    cp = CheckpointFlow(place, fsync=False)

    @cp.add_step()
    def count(state: State) -> None:
        state["n"] = state.get("n", 0) + 1

    return cp


def settle(changes: Changes, files: tuple[str, ...]) -> None:
    """Make all files old, and look at them, so that only a change is one."""
    for file in filter(Path.exists, map(Path, files)):
        os.utime(file, (OLD, OLD))
    changes.look()


@pytest.mark.parametrize("place", ["database", "directory", "file"])
def test_a_run_is_a_change(place: str, tmp_path: Path) -> None:
    """A run that is stored shows in the next look, and in no later one once its time is old."""
    store = tmp_path / "store"
    store.mkdir()
    if place == "database":
        target, files = f"sqlite:///{store}/o.db", files_of_database(f"{store}/o.db")
    elif place == "directory":
        target, files = f"{store}/", files_of_directory(str(store), directory=True)
    else:
        target, files = f"{store}/c.pkl", files_of_directory(f"{store}/c.pkl", directory=False)
    cp = make_flow(target)
    cp.run({}, run_id="first")
    changes = Changes(files)
    settle(changes, files)
    assert not changes.look()
    cp.run({}, run_id="second")
    assert changes.look()
    settle(changes, files)
    assert not changes.look()
    cp.run({}, run_id="first")
    assert changes.look()


def test_other_runs_are_no_change_of_a_run(tmp_path: Path) -> None:
    """A run that has a file of its own is followed by its own files alone."""
    cp = make_flow(f"{tmp_path}/")
    cp.run({}, run_id="mine")
    files = files_of_run(cp.handler.locate("mine"))
    changes = Changes(files)
    settle(changes, files)
    cp.run({}, run_id="other")
    assert not changes.look()
    cp.run({}, run_id="mine")
    assert changes.look()


def test_a_linked_file_is_followed(tmp_path: Path) -> None:
    """The run's file may be a link to a file elsewhere, which is the one that is replaced."""
    real, link = tmp_path / "real" / "c.pkl", tmp_path / "c.pkl"
    real.parent.mkdir()
    link.symlink_to(real)
    cp = make_flow(str(link))
    cp.run({})
    for files in (files_of_run(str(link)), files_of_directory(str(link), directory=False)):
        changes = Changes(files)
        settle(changes, files)
        assert not changes.look()
        cp.run({})
        assert changes.look()


def test_two_changes_at_one_time_are_seen(tmp_path: Path) -> None:
    """A file that has just changed counts as changed again: the clock of files ticks slowly."""
    file = tmp_path / "c.pkl"
    file.write_bytes(b"one")
    soon = time.time_ns() + 1_000_000_000_000  # However long the test takes.
    os.utime(file, ns=(soon, soon))
    changes = Changes((str(file),))
    assert changes.look()
    file.write_bytes(b"two")
    os.utime(file, ns=(soon, soon))
    assert changes.look()


def test_a_place_that_is_made_and_deleted(tmp_path: Path) -> None:
    """A store may be made after the first look, and deleted."""
    changes = Changes((str(tmp_path / "c.pkl"),))
    assert changes.look()
    assert not changes.look()
    (tmp_path / "c.pkl").write_bytes(b"")
    assert changes.look()
    (tmp_path / "c.pkl").unlink()
    assert changes.look()


def test_unknown_stores_always_change() -> None:
    """Where nothing is known of the files of a store, each look finds a change."""
    changes = Changes(None)
    assert changes.look()
    assert changes.look()


def test_a_watched_database_is_closed_as_if_nobody_watched(tmp_path: Path) -> None:
    """A look holds nothing open: after the close of the flow, one file holds everything."""
    cp = make_flow(f"sqlite:///{tmp_path}/o.db")
    changes = Changes(files_of_database(f"{tmp_path}/o.db"))
    cp.run({}, run_id="first")
    assert changes.look()
    cp.handler.close()
    assert [file.name for file in tmp_path.iterdir()] == ["o.db"]


def make_clock(clock: list[float], pauses: list[float]) -> SimpleNamespace:
    """Make a `time` whose sleeps take none: they are noted, and put the clock forward."""

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock[0] += seconds

    return SimpleNamespace(monotonic=lambda: clock[0], time_ns=time.time_ns, sleep=sleep)


def test_following_yields_at_once_and_anyway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller is called at once, and now and then without a change: a kill changes no file."""
    file = tmp_path / "c.pkl"
    file.write_bytes(b"")
    os.utime(file, (OLD, OLD))
    clock, pauses = [0.0], list[float]()
    monkeypatch.setattr(_changes, "time", make_clock(clock, pauses))
    changes, times = Changes((str(file),)).follow(), list[float]()
    for _ in range(3):
        next(changes)
        times.append(clock[0])
    assert times == pytest.approx([0.0, 5.0, 10.0])
    assert set(pauses) == {0.25}


def test_a_slow_caller_is_given_a_longer_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller takes a fifth of the time at most."""
    clock, pauses = [0.0], list[float]()
    monkeypatch.setattr(_changes, "time", make_clock(clock, pauses))
    changes = Changes(None).follow()
    for seconds in (0.01, 2.0, 2.0):
        next(changes)
        clock[0] += seconds
    next(changes)
    assert pauses == pytest.approx([1.0, 8.0, 8.0])
