"""A run of a database requested twice in one process, several loops, and forks."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from kill_checks import needs_fork
from lease_owners import PATIENCE, rows, successor
from locations import program

from aiocheckpoint import CheckpointFlow, LeaseLostError, RunInProgressError, StorageError
from aiocheckpoint.handlers.sqlite import SqliteStateHandler, _writing

if TYPE_CHECKING:
    from pathlib import Path

    from support import Runner

    from aiocheckpoint import Header
    from aiocheckpoint.handlers import SnapshotTarget

FORKING = program("fork_script.py")
LAST = {"trail": ["a of the taker", "b of the taker", "c of the taker"]}


def flow(path: Path, step: Any) -> CheckpointFlow:  # noqa: ANN401
    """Make a flow of one step."""
    cp = CheckpointFlow(path, "sqlite")
    cp.add_step(name="only")(step)
    return cp


@pytest.mark.parametrize("wait", [0.0, 0.12])
def test_second_run_in_this_process(wait: float, runner: Runner, tmp_path: Path) -> None:
    """The second run is refused, also after waiting. The error names this process."""
    path, pids = tmp_path / "runs.db", list[object]()

    def again() -> None:
        with pytest.raises(RunInProgressError) as info:
            runner(flow(path, lambda state: None), run_id="x", wait=wait)
        pids.append(info.value.pid)

    def step(state: dict[str, Any]) -> None:
        thread = threading.Thread(target=again)
        thread.start()
        thread.join()

    runner(flow(path, step), {}, run_id="x")
    assert pids == [os.getpid()]


async def test_two_started_in_one_transaction(tmp_path: Path) -> None:
    """Of many claims of a run at the same moment, one gets it. The waiting ones run afterwards."""
    cp = successor(tmp_path / "runs.db")
    runs = [cp.arun({"trail": []}, run_id="x") for _ in range(20)]
    ends = await asyncio.gather(*runs, return_exceptions=True)
    active_run = [end for end in ends if isinstance(end, RunInProgressError)]
    assert [end for end in ends if not isinstance(end, RunInProgressError)] == [LAST]
    assert {error.pid for error in active_run} == {os.getpid()}
    runs = [cp.arun({"trail": []}, run_id="x", wait=PATIENCE) for _ in range(5)]
    assert await asyncio.gather(*runs) == [LAST] * 5


def test_loops_in_two_threads(tmp_path: Path) -> None:
    """One flow serves the loops of several threads at once, and wakes each for its own runs."""
    path, ends = tmp_path / "runs.db", list[Any]()
    cp = successor(path)

    async def many(who: str) -> list[dict[str, Any]]:
        runs = [cp.arun({"trail": []}, run_id=f"{who} {number}") for number in range(50)]
        return await asyncio.gather(*runs)

    threads = [
        threading.Thread(target=lambda who=who: ends.extend(asyncio.run(many(who)))) for who in "xy"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert ends == [LAST] * 100
    assert rows(path, "SELECT count(*) FROM runs WHERE status = 'finished'") == [(100,)]


@needs_fork
def test_fork_in_the_middle(tmp_path: Path) -> None:
    """A child runs the flow that it inherited, and cannot write under its parent's lease."""
    path = tmp_path / "runs.db"
    command = [sys.executable, str(FORKING), str(path)]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert rows(path, "SELECT run_id, status, number FROM runs ORDER BY run_id") == [
        ("of the child", "finished", 1),
        ("of the parent", "finished", 1),
    ]


@pytest.mark.parametrize("highest", [-5, 2**63 - 3, 2**63 - 1])
async def test_new_runs_beside_an_odd_row(highest: int, tmp_path: Path) -> None:
    """Runs started together have different rows, even if SQLite has no next row number."""
    path, count = tmp_path / "runs.db", 10

    def step(state: dict[str, Any]) -> None:
        state["seen"] = state["n"]

    cp = flow(path, step)
    await cp.arun({"n": -1}, run_id="odd")
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE runs SET id = ?", (highest,))
    states = await asyncio.gather(*(cp.arun({"n": n}, run_id=f"{n}") for n in range(count)))
    assert [state["seen"] for state in states] == list(range(count))
    assert rows(path, "SELECT count(*) FROM runs WHERE owner IS NOT NULL") == [(0,)]


@pytest.mark.parametrize("ids", [("one", "two"), ("order-1", "order-2"), ("a1", "a10")], ids=str)
def test_lease_of_another_run(ids: tuple[str, str], tmp_path: Path) -> None:
    """The lease of one run cannot change another run, nor does it write to its own by mistake."""
    handler, (own, other) = SqliteStateHandler(tmp_path / "runs.db"), ids
    handler.write({"n": 1}, own)
    handler.write({"n": 2}, other)
    with closing(handler), handler.locked(own) as lock:
        for change in (handler.remove, partial(handler.replace, write_to=never)):
            with pytest.raises(LeaseLostError, match=f"'{other}'"):
                change(other, lock=lock)
        assert [handler.read(run_id)["n"] for run_id in ids] == [1, 2]


def test_released_lease(tmp_path: Path) -> None:
    """A released lease is not held, writes nothing, and is taken again."""
    with closing(SqliteStateHandler(tmp_path / "runs.db")) as handler:
        lock = handler.lock("one")
        for _ in range(2):
            lock.acquire()
            held = [lock.held]
            lock.release()
            lock.release()
            assert [*held, lock.held] == [True, False]
            with pytest.raises(LeaseLostError, match="'one'"):
                handler.replace("one", never, lock=lock)
        assert rows(tmp_path / "runs.db", "SELECT * FROM runs") == []


def never(target: SnapshotTarget) -> Header:
    """Fail if it is called."""
    raise AssertionError(target)


def test_claim_that_breaks_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A claim whose row cannot be read afterwards is released."""

    def fail(*_: object) -> NoReturn:
        raise sqlite3.OperationalError("disk I/O error")

    with closing(SqliteStateHandler(tmp_path / "runs.db")) as handler:
        with handler.locked("before"), monkeypatch.context() as patch:
            patch.setattr(_writing, "claimed_rows", fail)
            with pytest.raises(StorageError, match="disk I/O error"):
                handler.lock("one").acquire()
        assert rows(tmp_path / "runs.db", "SELECT run_id FROM runs WHERE owner IS NOT NULL") == []
        with handler.locked("one") as lock:
            assert lock.held
