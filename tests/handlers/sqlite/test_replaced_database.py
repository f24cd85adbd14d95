"""Files of a database that are deleted, replaced or cut while it is in use."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from simulated_processes import handler_apart, shut_down
from support import Runner

from aiocheckpoint import CheckpointError, CheckpointFlow, RunInProgressError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENDS = ("", "-wal", "-shm")
pytestmark = pytest.mark.leaves_files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a database."""
    return tmp_path / "runs.db"


@pytest.fixture
def cp(path: Path) -> Iterator[CheckpointFlow]:
    """Give a flow of two steps. The first calls the function `fault` of this module."""
    flow = CheckpointFlow(path, "sqlite", name="f")

    @flow.add_step()
    def one(state: dict[str, Any]) -> None:
        state["one"] = True
        FAULTS.pop()() if FAULTS else None

    @flow.add_step()
    def two(state: dict[str, Any]) -> None:
        state["two"] = True
        if state.get("breaks"):
            raise ZeroDivisionError

    yield flow
    FAULTS.clear()
    flow.handler.close()


FAULTS = list["Callable[[], object]"]()


def move_away(path: Path) -> None:
    """Move a database and its files to other names."""
    for end in ENDS:
        part = path.with_name(path.name + end)
        if part.exists():
            part.rename(path.with_name("moved" + end))


def test_reader_follows(cp: CheckpointFlow, path: Path) -> None:
    """Lists, headers and states are those of the file at the path."""
    cp.run({"file": "old"}, run_id="old")
    assert [header.run_id for header in cp.runs()] == ["old"]
    move_away(path)
    with pytest.raises(StorageError, match="moved"):
        cp.run({"file": "new"}, run_id="new")
    with pytest.raises(ZeroDivisionError):
        cp.run({"breaks": 1}, run_id="new")
    assert [header.run_id for header in cp.runs()] == ["new"]
    assert cp.header("old") is None
    assert cp.read("new") == {"breaks": 1, "one": True, "checkpoint_index": 1}
    with pytest.raises(ZeroDivisionError):
        cp.run(run_id="new")


def test_owner_follows(cp: CheckpointFlow, path: Path) -> None:
    """The owner is known in the new file, so that no other process takes its runs."""
    cp.run({}, run_id="old")
    move_away(path)
    with pytest.raises(StorageError, match="moved"):
        cp.run({}, run_id="new")
    refused = list[str]()

    def take() -> None:
        other = handler_apart(path, flow="f")
        try:
            other.lock("new").acquire()
        except RunInProgressError as error:
            refused.append(str(error))
        shut_down(other)

    FAULTS.append(take)
    assert cp.run({}, run_id="new") == {"one": True, "two": True}
    assert len(refused) == 1
    assert str(os.getpid()) in refused[0] or "this process" in refused[0]


def test_old_lease_is_lost(cp: CheckpointFlow, path: Path) -> None:
    """A run that began in the old file stores nothing in the new one."""

    def replace() -> None:
        move_away(path)
        time.sleep(0.11)  # The files are looked at before a commit if the last look is 0.1 s old.
        with pytest.raises(StorageError, match="moved"):
            cp.run({}, run_id="other")
        cp.run({}, run_id="other")

    FAULTS.append(replace)
    with pytest.raises(CheckpointError):
        cp.run({}, run_id="r")
    assert [header.run_id for header in cp.runs()] == ["other"]
    cp.handler.close()
    move_back(path)
    assert [header.run_id for header in cp.runs()] == ["r"]
    assert cp.run(run_id="r") == {"one": True, "two": True}


def move_back(path: Path) -> None:
    """Put a database back that was moved away."""
    for end in ENDS:
        path.with_name(path.name + end).unlink(missing_ok=True)
        part = path.with_name("moved" + end)
        if part.exists():
            part.rename(path.with_name(path.name + end))


def test_new_files_stay(cp: CheckpointFlow, path: Path) -> None:
    """Leaving a database that was moved away deletes nothing of the new one."""
    cp.run({}, run_id="old")
    cp.runs()
    move_away(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE t (x)")
        new = {end: path.with_name(path.name + end).stat().st_ino for end in ENDS}
        for _ in range(2):
            with pytest.raises(StorageError):
                cp.run({}, run_id="new")
        cp.handler.close()
        assert {end: path.with_name(path.name + end).stat().st_ino for end in ENDS} == new


def cut(path: Path, share: float) -> None:
    """Cut a file."""
    os.truncate(path, int(path.stat().st_size * share))


def replaced(path: Path) -> None:
    """Put an empty file in the place of another."""
    path.unlink()
    path.touch()


CHANGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "wal-deleted": ("-wal", lambda path: path.unlink()),
    "wal-replaced": ("-wal", replaced),
    "wal-emptied": ("-wal", lambda path: cut(path, 0)),
    "wal-cut": ("-wal", lambda path: cut(path, 0.5)),
    "shm-deleted": ("-shm", lambda path: path.unlink()),
    "shm-replaced": ("-shm", replaced),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("beside", ["writer", "writer and reader"])
def test_changed_beside(change: str, beside: str, cp: CheckpointFlow, path: Path) -> None:
    """A snapshot that may be lost with a changed file is not acknowledged."""
    end, do = CHANGES[change]
    for number in range(3):
        cp.run({}, run_id=f"before {number}")
    if "reader" in beside:
        cp.runs()
    FAULTS.append(lambda: do(path.with_name(path.name + end)))
    with pytest.raises(StorageError, match=end):
        cp.run({}, run_id="r")
    cp.handler.close()
    if "cut" in change or "emptied" in change:
        return  # What the file held is gone.
    assert cp.run({}, run_id="after") == {"one": True, "two": True}
    assert cp.run({}, run_id="r") == {"one": True, "two": True}
    assert {header.run_id for header in cp.runs()} >= {"after", "r"}


@pytest.mark.parametrize("mode", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_checkpoint_by_others(mode: str, cp: CheckpointFlow, path: Path) -> None:
    """A checkpoint by another program cuts the "-wal" as well, and is no fault."""
    results = list[Any]()

    def checkpoint() -> None:
        with contextlib.closing(sqlite3.connect(path)) as other:
            results.extend(other.execute(f"PRAGMA wal_checkpoint({mode})").fetchone())

    for number in range(20):
        cp.run({}, run_id=f"before {number}")
    for number in range(3):
        FAULTS.append(checkpoint)
        assert cp.run({}, run_id=f"r {number}") == {"one": True, "two": True}
    assert results[0] == 0
    assert path.with_name("runs.db-wal").stat().st_size < 2_000_000


def replace_by_link(path: Path) -> None:
    """Move a database to another name, and leave a symbolic link."""
    path.rename(path.with_name("real.db"))
    path.symlink_to("real.db")


def test_link_in_its_place(cp: CheckpointFlow, path: Path) -> None:
    """A database moved behind a symbolic link is another one: its "-wal" has another name."""
    cp.run({}, run_id="before")
    FAULTS.append(lambda: replace_by_link(path))
    with pytest.raises(StorageError, match="moved"):
        cp.run({}, run_id="r")


def test_all_runs_are_told(cp: CheckpointFlow, path: Path) -> None:
    """Each run in progress gets the reason for which it stores nothing more."""
    together = asyncio.Barrier(5)

    @cp.add_step()
    async def wait(state: dict[str, Any]) -> None:
        await together.wait()
        if state["number"] == 0:
            path.with_name("runs.db-wal").unlink()
        await asyncio.sleep(0.1 * state["number"])

    async def main() -> list[Any]:
        runs = (cp.arun({"number": number}, run_id=f"r {number}") for number in range(5))
        return list(await asyncio.gather(*runs, return_exceptions=True))

    outcomes = asyncio.run(main())
    assert {type(one) for one in outcomes} == {StorageError}
    assert all("-wal" in str(one) for one in outcomes)


def test_renamed_in_one_process(cp: CheckpointFlow, path: Path, tmp_path: Path) -> None:
    """A flow on the new name of a database works beside one on the old name."""
    cp.run({}, run_id="r")
    cp.runs()
    for end in ENDS:
        path.with_name(path.name + end).rename(tmp_path / f"new.db{end}")
    other = CheckpointFlow(tmp_path / "new.db", "sqlite", name="f")
    assert [header.run_id for header in other.runs()] == ["r"]
    other.add_step(name="a")(lambda state: None)
    assert other.run({}, run_id="new") == {}
    other.handler.close()


@pytest.mark.parametrize("call", ["runs", "header", "read", "plan", "aresume_all", "prune"])
def test_unreachable_is_not_empty(call: str, cp: CheckpointFlow, path: Path) -> None:
    """A path that cannot be looked at is an error, and no empty database."""
    cp.run({}, run_id="r")
    cp.handler.close()
    path.rename(path.with_name("away"))
    path.symlink_to(path.name)  # a loop of links

    async def resume_all() -> list[Any]:
        return [one async for one in cp.aresume_all()]

    calls: dict[str, Callable[[], object]] = {
        "runs": cp.runs,
        "header": lambda: cp.header("r"),
        "read": lambda: cp.read("r"),
        "plan": lambda: Runner("run").allowed_plan(cp, run_id="r"),
        "aresume_all": lambda: asyncio.run(resume_all()),
        "prune": lambda: cp.prune(older_than=0),
    }
    with pytest.raises(StorageError, match=r"runs\.db"):
        calls[call]()


HOLD_AND_CUT = """
import os, sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(0.5)
os.truncate(sys.argv[1] + "-wal", int(sys.argv[2]))
connection.execute("ROLLBACK")
os._exit(0)
"""


@pytest.mark.parametrize("length", [0, 20, 32, 4 * 4120 + 32])
def test_cut_while_a_commit_waits(length: int, cp: CheckpointFlow, path: Path) -> None:
    """A "-wal" that is cut while a commit waits for another program has a hole, and is noticed."""
    for number in range(10):
        cp.run({}, run_id=f"before {number}")
    command = [sys.executable, "-c", HOLD_AND_CUT, str(path), str(length)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match="-wal"):
            cp.run({}, run_id="r")


def test_waiting_is_no_fault(cp: CheckpointFlow, path: Path) -> None:
    """A commit that waited, in a "-wal" that was begun anew in between, is acknowledged."""
    for number in range(10):
        cp.run({}, run_id=f"before {number}")
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(RESTART)")
    for number in range(3):
        command = [sys.executable, "-c", HOLD_AND_CUT.replace("os.truncate", "str"), str(path), "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other_process:
            assert other_process.stdout is not None
            assert other_process.stdout.readline() == "held\n"
            assert cp.run({}, run_id=f"r {number}") == {"one": True, "two": True}


def test_old_index_in_use(cp: CheckpointFlow, path: Path) -> None:
    """No connection is opened beside one that still has the old "-shm" of the database."""
    cp.run({}, run_id="r")
    with cp.handler._client.reading():  # noqa: SLF001
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink()
        path.touch()
        other = CheckpointFlow(path, "sqlite", name="f", lease=31.0)
        with pytest.raises(StorageError, match="-wal"):
            other.runs()
    assert isinstance(other.runs(), list)
    other.handler.close()


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are listed by Linux")
def test_deleted_database_leaves_no_descriptor(cp: CheckpointFlow, path: Path) -> None:
    """Closing a database that was deleted closes all descriptors of it."""
    cp.run({}, run_id="r")
    cp.runs()
    for end in ENDS:
        path.with_name(path.name + end).unlink()
    cp.handler.close()
    assert [link for link in open_links() if str(path) in link] == []


def open_links() -> list[str]:
    """List the files that this process has open."""
    links = list[str]()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(str(link.readlink()))
    return links
