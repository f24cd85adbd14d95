"""Owners of runs that are killed, suspended, or on another machine."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from lease_owners import KEPT, PATIENCE, TAKEN, owner, rows, successor
from run_factories import UNFINISHED

from aiocheckpoint import RunInProgressError
from aiocheckpoint.handlers.sqlite._owners import Owners
from aiocheckpoint.handlers.sqlite._schema import set_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from support import Runner

    from aiocheckpoint import CheckpointFlow

pytestmark = [
    pytest.mark.leaves_files,
    pytest.mark.skipif(os.name != "posix", reason="POSIX only"),
]
DAY = 86_400.0
FAR = "f" * 16
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


async def one_pass(path: Path, cp: CheckpointFlow | None = None) -> list[str | None]:
    """Resume all runs without an owner once, due or not, and return their ids."""
    results = (cp or successor(path)).aresume_all(status=UNFINISHED)
    return [result.run_id async for result in results]


async def resume_all(path: Path) -> list[str | None]:
    """Do the same for runs of a killed owner, all in their second step."""
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
    """An owner on another machine is dead when no heartbeat came for its lease."""
    path = tmp_path / "runs.db"
    with owner(path, 1.0, "x") as other:
        other.kill()
        rows(path, FAR_AWAY)
        watched_from = time.monotonic()
        with pytest.raises(RunInProgressError) as info:
            successor(path).run(run_id="x")
        assert info.value.host == "far-away"
        assert 0.5 < (info.value.lease_left or 0) <= 1.0
        assert "at once" not in str(info.value)
        assert successor(path).run(run_id="x", wait=PATIENCE) == TAKEN
        assert time.monotonic() - watched_from > 1.0


def test_passes_over_runs_of_another_machine(tmp_path: Path) -> None:
    """A service whose runs another machine has lost resumes them by passes, a lease later."""
    path, ids = tmp_path / "runs.db", ("u", "v", "w", "x", "y")
    with owner(path, 0.5, *ids) as other:
        other.kill()
        rows(path, FAR_AWAY)
        cp, resumed = successor(path), list[str]()
        deadline = time.monotonic() + PATIENCE
        while len(resumed) < len(ids):
            assert time.monotonic() < deadline
            resumed += map(str, asyncio.run(one_pass(path, cp)))
            time.sleep(0.05)
    assert sorted(resumed) == list(ids)
    assert [cp.read(one)["trail"] for one in ids] == [TAKEN["trail"]] * len(ids)


@pytest.fixture
def owners_table() -> Iterator[sqlite3.Connection]:
    """Give the tables in memory, with an owner on another machine whose lease is 9 seconds."""
    with closing(sqlite3.connect(":memory:")) as connection:
        set_up(connection, ":memory:", durable=False)
        connection.execute("INSERT INTO owners VALUES (?, 'far', 'other', 1, '', 1, 0, 9)", (FAR,))
        yield connection


@pytest.mark.parametrize(
    ("beats", "silent", "left"),
    [
        ((0.0, 8.0, 16.0, 24.0), (32.0, 32.1, 32.2), 1),
        ((0.0,), (3.0, 6.0, 9.0), 1),
        ((0.0,), (3.0, 6.0, 9.0, 9.1), 0),
        ((0.0,), (0.05 * number for number in range(182)), 0),
        ((0.0, 5.0), (8.0, 11.0, 14.0), 1),
        ((0.0,), (1000.0, 2000.0, 3000.0), 1),
        ((0.0,), (1000.0, 2000.0, 3000.0, 4000.0), 0),
    ],
    ids=["beats", "a lease", "more", "polls", "from the last beat", "three gaps", "four gaps"],
)
def test_heartbeats_of_another_machine(
    beats: tuple[float, ...],
    silent: Iterable[float],
    left: int,
    owners_table: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An owner on another machine is gone after a lease without a beat, long gaps not counted."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    owners = Owners("runs.db", 60.0)
    for now in beats:  # noqa: B007 - read by `monotonic`
        owners_table.execute("UPDATE owners SET beat = beat + 1")
        assert owners.expire_if_dead(owners_table, FAR) is not None
    for now in silent:  # noqa: B007
        owners.expire_if_dead(owners_table, FAR)
    assert len(owners_table.execute("SELECT * FROM owners").fetchall()) == left


def test_owner_that_wakes_after_its_row_was_deleted(owners_table: sqlite3.Connection) -> None:
    """Its next beat is a new one, so that a watcher of the old ones begins anew."""
    owners = Owners("runs.db", 60.0)
    owners._lock.acquire()  # noqa: SLF001 - as in a first heartbeat
    beats = list[tuple[int]]()
    for _ in range(3):
        owners.heartbeat(owners_table)
        beats += owners_table.execute("SELECT beat FROM owners WHERE id = ?", (owners.id,))
        owners_table.execute("DELETE FROM owners")
    owners.release()
    assert len(set(beats)) == 3


@pytest.mark.parametrize("odd", ["a/../notes", "x" * 16, "", "0" * 16 + "\0", b"\xff", 7, 1e308])
def test_id_that_is_none(odd: object, tmp_path: Path) -> None:
    """Runs of an owner that cannot exist are free, and its id is never part of a path."""
    path, notes = tmp_path / "runs.db", tmp_path / "notes"
    (tmp_path / "runs.db-owner-a").mkdir()
    for content in ("", '{"pid": 1}'):
        successor(path).run({"trail": []}, run_id="x", until="a")
        notes.write_text(content, encoding="ascii")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE runs SET owner = ?", (odd,))
            connection.execute(
                "INSERT INTO owners VALUES (?, ?, '', 1, '', 1, 1e300, 9)",
                (odd, socket.gethostname()),
            )
        assert asyncio.run(one_pass(path)) == ["x"]
        assert notes.read_text("ascii") == content
        successor(path).delete("x")
    assert rows(path, "SELECT id FROM owners WHERE boot = ''") == []


def test_lock_file_without_an_owner(tmp_path: Path) -> None:
    """The first heartbeat of an owner deletes lock files that no row names and no process holds."""
    path = tmp_path / "runs.db"
    leftover = tmp_path / "runs.db-owner-0123456789abcdef"
    leftover.touch()
    foreign = tmp_path / "runs.db-owner-notes"
    foreign.touch()
    successor(path).handler.write({"n": 1}, "x")
    assert not leftover.exists()
    assert foreign.exists()
