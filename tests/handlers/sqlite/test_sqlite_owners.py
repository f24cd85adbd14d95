"""Owners of runs that are killed, suspended, or on another machine."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from lease_owners import KEPT, PATIENCE, TAKEN, owner, rows, successor

from aiocheckpoint import RunInProgressError
from aiocheckpoint.handlers.sqlite._owners import Owners
from aiocheckpoint.handlers.sqlite._schema import MIGRATIONS

if TYPE_CHECKING:
    from pathlib import Path

    from support import Runner

pytestmark = [
    pytest.mark.leaves_files,
    pytest.mark.skipif(os.name != "posix", reason="POSIX only"),
]
DAY = 86_400.0
FAR_AWAY = "UPDATE owners SET host = 'far-away', boot = 'another'"


@pytest.fixture(params=[0.0, DAY, -DAY], ids=["right", "fast", "slow"])
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the wall clock of this process right, or wrong by a day."""
    real, wrong = time.time, float(request.param)
    monkeypatch.setattr(time, "time", lambda: real() + wrong)


def check_left_alone(path: Path, pid: int) -> None:
    """Check that a run is running in that process, and that this process ran nothing."""
    with pytest.raises(RunInProgressError) as info:
        successor(path).run(run_id="x")
    assert info.value.pid == pid
    assert asyncio.run(resume_all(path)) == []


async def resume_all(path: Path) -> list[str | None]:
    """Resume all runs without an owner, and return their ids."""
    results = [result async for result in successor(path).aresume_all()]
    assert [result.state for result in results] == [TAKEN] * len(results)
    return [result.run_id for result in results]


@pytest.mark.usefixtures("clock")
def test_killed_owner_is_succeeded_at_once(runner: Runner, tmp_path: Path) -> None:
    """The runs of a killed owner are free at once, for any length of its lease."""
    path = tmp_path / "runs.db"
    with owner(path, 3600.0, "x", "y", "z") as other:
        check_left_alone(path, other.process.pid)
        other.kill()
        assert runner(successor(path), run_id="x") == TAKEN
        assert sorted(map(str, asyncio.run(resume_all(path)))) == ["y", "z"]
    assert rows(path, "SELECT owner FROM runs WHERE owner IS NOT NULL") == []


@pytest.mark.usefixtures("clock")
def test_suspended_owner_is_fenced_off(tmp_path: Path) -> None:
    """An owner suspended past its lease loses its runs, and writes nothing when it wakes."""
    path = tmp_path / "runs.db"
    cp = successor(path)
    with owner(path, 0.5, "x", "y") as other:
        other.suspend()
        assert cp.run(run_id="x", wait=PATIENCE) == TAKEN
        before = rows(path, "SELECT * FROM runs WHERE run_id = 'x'")
        other.wake()
        assert other.end() == "LeaseLostError LeaseLostError"
        assert rows(path, "SELECT * FROM runs WHERE run_id = 'x'") == before
    assert cp.read("y")["trail"] == TAKEN["trail"][:1]
    assert cp.run(run_id="y") == TAKEN


def test_suspended_owner_whom_nobody_succeeds(tmp_path: Path) -> None:
    """An owner suspended past its lease continues if no other process wanted its runs."""
    path = tmp_path / "runs.db"
    with owner(path, 0.2, "x", "y") as other:
        other.suspend()
        expires = rows(path, "SELECT expires FROM owners")[0][0]
        while time.monotonic() <= expires:  # nothing else signals the expiry
            time.sleep(0.01)
        other.wake()
        assert other.end() == "done done"
    assert successor(path).read("x") == {**KEPT, "checkpoint_index": 0}


def test_owner_that_is_awake_keeps_its_runs(tmp_path: Path) -> None:
    """A step may take many times the length of the lease."""
    path = tmp_path / "runs.db"
    with owner(path, 0.3, "x") as other:
        with pytest.raises(RunInProgressError):
            successor(path).run(run_id="x", wait=1.2)
        assert other.end() == "done"


@pytest.mark.usefixtures("clock")
def test_owner_on_another_machine(tmp_path: Path) -> None:
    """An owner on another machine is dead when its heartbeat is older than its lease."""
    path = tmp_path / "runs.db"
    with owner(path, 1.0, "x") as other:
        other.kill()
        rows(path, FAR_AWAY)
        watched_from = time.monotonic()
        with pytest.raises(RunInProgressError) as info:
            successor(path).run(run_id="x")
        assert info.value.host == "far-away"
        assert successor(path).run(run_id="x", wait=PATIENCE) == TAKEN
        assert time.monotonic() - watched_from > 1.0


def test_heartbeats_of_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner on another machine lives until its heartbeats stop for the length of its lease."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    owners = Owners("runs.db", 60.0)
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO owners VALUES ('other', 'far-away', 'another', 1, '', 1, 0.0, 10.0)"
        )
        for now in (0.0, 9.0, 18.0, 27.0):  # noqa: B007 - read by `monotonic`
            connection.execute("UPDATE owners SET beat = beat + 1")
            assert owners.expire_if_dead(connection, "other") is not None
        now = 36.0
        assert owners.expire_if_dead(connection, "other") is not None
        now = 38.0
        assert owners.expire_if_dead(connection, "other") is None
        assert connection.execute("SELECT * FROM owners").fetchall() == []


def test_lock_file_without_an_owner(tmp_path: Path) -> None:
    """The first heartbeat of an owner deletes lock files that no row names and no process holds."""
    path = tmp_path / "runs.db"
    leftover = tmp_path / "runs.db-owner-0123456789abcdef"
    leftover.touch()
    successor(path).handler.write({"n": 1}, "x")
    assert not leftover.exists()
