"""Stores are copied while they are in use, to new places alone."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from locations import program
from run_factories import Runs, active_run

from aiocheckpoint import (
    CheckpointFlow,
    InvalidTypeError,
    InvalidValueError,
    LocalStateHandler,
    StorageError,
)
from aiocheckpoint.handlers.sqlite import SqliteStateHandler
from aiocheckpoint.handlers.sqlite._schema import ADDITIONS
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from support import Runner, State

SCRIPT = program("backup_script.py")
PATIENCE = 60.0
FAST: dict[str, Any] = {"fsync": False}
KINDS = {"file": "runs.pkl", "directory": "runs/", "sqlite": "runs.db"}
by_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind: str, place: Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401 - passed on
    """Make a flow of one step in a place of a kind."""
    handler = "sqlite" if kind == "sqlite" else "local"
    path = f"{place}/" if kind == "directory" else place
    cp = CheckpointFlow(path, handler, name="runs", **FAST, **options)
    cp.add_step(name="a")(lambda state: state.update(done=True))
    cp.add_step(name="b")(lambda state: None)
    return cp


def states_of(cp: CheckpointFlow) -> dict[str | None, State]:
    """Read the states of all runs."""
    return {header.run_id: cp.read(header.run_id) for header in cp.runs()}


@by_kind
def test_a_copy_is_a_store(kind: str, tmp_path: Path, runner: Runner) -> None:
    """All runs are in the copy, with odd ids and none, and go on there apart from the store."""
    cp = make(kind, tmp_path / KINDS[kind])
    for run_id in (None, "x", "A/b", "ü" * 200):
        cp.run({"id": run_id}, run_id=run_id, until="a")
    before = states_of(cp)
    target = tmp_path / "deep" / "er" / f"backup{Path(KINDS[kind]).suffix}"
    runner.do(cp.handler, "backup", target)
    copy = make(kind, target)
    assert states_of(copy) == before
    assert len(before) == 4
    copy.run(run_id="x")
    assert copy.header("x").finished  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess]
    assert states_of(cp) == before
    modes = {path.stat().st_mode & 0o777 for path in target.parent.rglob("*") if path.is_file()}
    assert modes == {0o600}


@by_kind
def test_retained_snapshots_are_copied(kind: str, tmp_path: Path) -> None:
    """What keep= retains is in the copy."""
    cp = make(kind, tmp_path / KINDS[kind], keep="all")
    cp.run({"n": 1}, run_id="x")
    cp.handler.backup(tmp_path / f"copy{Path(KINDS[kind]).suffix}")
    copy = make(kind, tmp_path / f"copy{Path(KINDS[kind]).suffix}", keep="all")
    assert copy.handler.kept("x") == cp.handler.kept("x") != []
    assert copy.run(run_id="x", checkpoint="b") == {"n": 1, "done": True}


@by_kind
def test_a_run_in_progress(kind: str, tmp_path: Path) -> None:
    """A run in progress is copied, goes on in its store, and resumes in the copy at once."""
    runs = Runs(tmp_path / KINDS[kind], kind="sqlite" if kind == "sqlite" else "pattern")
    if kind == "directory":
        runs.path.mkdir()
    cp = runs.flow("a")
    with active_run(cp, "x"):
        cp.handler.backup(tmp_path / f"copy{Path(KINDS[kind]).suffix}")
    assert cp.header("x").finished  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess]
    copy = make(kind, tmp_path / f"copy{Path(KINDS[kind]).suffix}")
    found = copy.header("x")
    assert found is not None
    assert (found.status, found.owner) == ("running", None)
    copy.reset(run_id="x")


def test_one_file(tmp_path: Path) -> None:
    """A checkpoint without ids is one file, and the copy has the same bytes."""
    cp = make("file", tmp_path / "c.pkl")
    cp.run({"n": 1})
    cp.handler.backup(tmp_path / "d.pkl")
    assert (tmp_path / "d.pkl").read_bytes() == (tmp_path / "c.pkl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.pkl", "d.pkl"]


def test_a_file_into_a_directory(tmp_path: Path) -> None:
    """Files beside a file may be copied into an existing, empty directory."""
    cp = make("file", tmp_path / "c.pkl")
    cp.run({"n": 1})
    cp.run({"n": 2}, run_id="x")
    (tmp_path / "d").mkdir()
    cp.handler.backup(tmp_path / "d")
    assert states_of(make("directory", tmp_path / "d")) == states_of(cp)


def leave_file(path: Path) -> None:
    """Put somebody's file at a path."""
    path.write_text("mine")


def leave_directory(path: Path) -> None:
    """Put somebody's directory at a path."""
    path.mkdir()
    (path / "mine").write_text("mine")


def leave_link(path: Path) -> None:
    """Put a symbolic link to nothing at a path."""
    path.symlink_to("nowhere")


@by_kind
@pytest.mark.parametrize("leave", [leave_file, leave_directory, leave_link])
def test_nothing_is_overwritten(kind: str, leave: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """Whatever is at the path of the copy stays, and the store too."""
    cp = make(kind, tmp_path / KINDS[kind])
    cp.run({"n": 1}, run_id="x")
    target = tmp_path / f"copy{Path(KINDS[kind]).suffix}"
    if kind == "file":  # The file of the run is beside it.
        target = tmp_path / "copy.x.pkl"
    leave(target)
    before = sorted(tmp_path.rglob("*")), states_of(cp)
    given = tmp_path / "copy.pkl" if kind == "file" else target
    with pytest.raises(StorageError, match="overwrites nothing") as info:
        cp.handler.backup(given)
    assert str(target) in str(info.value)
    assert (sorted(tmp_path.rglob("*")), states_of(cp)) == before


@by_kind
def test_onto_itself_and_again(kind: str, tmp_path: Path) -> None:
    """The store itself is no place for its copy. Neither is an earlier copy."""
    cp = make(kind, tmp_path / KINDS[kind])
    cp.run({"n": 1}, run_id="x")
    cp.run({"n": 1})
    target = tmp_path / f"copy{Path(KINDS[kind]).suffix}"
    cp.handler.backup(target)
    for place in (tmp_path / KINDS[kind], target):
        with pytest.raises(StorageError, match="overwrites nothing"):
            cp.handler.backup(place)
    assert cp.count() == 2


@by_kind
def test_nothing_to_copy(kind: str, tmp_path: Path) -> None:
    """A store that does not exist makes no copy: its path is probably wrong."""
    with pytest.raises(StorageError, match="nothing is stored"):
        make(kind, tmp_path / KINDS[kind]).handler.backup(tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


@by_kind
@pytest.mark.parametrize("path", [None, 5, "", b"x"], ids=repr)
def test_bad_paths(kind: str, path: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """What is no path is refused."""
    with pytest.raises(InvalidTypeError, match="path"):
        make(kind, tmp_path / KINDS[kind]).handler.backup(path)


def test_urls(tmp_path: Path) -> None:
    """A database takes the URL of a file. Files take none."""
    handler = SqliteStateHandler(tmp_path / "runs.db", **FAST)
    handler.write({"n": 1})
    handler.backup(f"sqlite:///{tmp_path}/copy.db")
    assert SqliteStateHandler(tmp_path / "copy.db", flow="runs").read()["n"] == 1
    with pytest.raises(InvalidValueError, match=r"postgresql://\*\*\*@host") as info:
        LocalStateHandler(tmp_path / "c.pkl").backup("postgresql://me:hidden@host/runs")
    assert "hidden" not in str(info.value)


def test_a_handler_that_makes_none(tmp_path: Path) -> None:
    """The store in memory says that it makes no copy, and has no space to give back."""
    handler = MemoryStateHandler()
    with pytest.raises(InvalidValueError, match="makes no backup"):
        handler.backup(tmp_path / "copy")
    assert handler.compact() == 0
    handler.close()


def test_a_database_of_several_flows(tmp_path: Path) -> None:
    """The copy has the runs of all flows in the database."""
    one = SqliteStateHandler(tmp_path / "runs.db", flow="one", **FAST)
    other = SqliteStateHandler(tmp_path / "runs.db", flow="other", **FAST)
    one.write({"n": 1}, "x")
    other.write({"n": 2}, "x")
    one.backup(tmp_path / "copy.db")
    for flow, number in (("one", 1), ("other", 2)):
        copy = SqliteStateHandler(tmp_path / "copy.db", flow=flow, **FAST)
        assert copy.read("x")["n"] == number


def test_a_database_of_the_release_before(tmp_path: Path) -> None:
    """A database that 0.5 has made, and only 0.5 has written, is copied as it is."""
    cp = make("sqlite", tmp_path / "runs.db")
    cp.run({"n": 1}, run_id="x", until="a")
    cp.handler.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        for name, statement in ADDITIONS.items():
            connection.execute(f"DROP {statement.split()[1]} {name}")
    tables = (tmp_path / "runs.db").read_bytes()
    cp.handler.backup(tmp_path / "copy.db")
    cp.handler.close()
    assert (tmp_path / "runs.db").read_bytes() == tables
    assert make("sqlite", tmp_path / "copy.db").resume("x")["done"]


@by_kind
async def test_a_cancelled_copy_is_whole(kind: str, tmp_path: Path) -> None:
    """A cancellation waits for the copy, which is whole then."""
    cp = make(kind, tmp_path / KINDS[kind])
    for number in range(50):
        cp.run({"n": number}, run_id=f"{number}")
    task = asyncio.create_task(cp.handler.abackup(tmp_path / "copy"))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    if (tmp_path / "copy").exists() or kind == "file":
        handler = type(cp.handler)(tmp_path / "copy", flow="runs")
        assert handler.count() in ({50} if kind != "file" else {0, 50})


async def test_copies_that_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies to places that hang hold up those of their own handler alone."""
    goes_on = threading.Event()

    def hang(_: LocalStateHandler, path: object) -> None:
        assert goes_on.wait(PATIENCE)

    whole = make("sqlite", tmp_path / "whole.db")
    whole.run()
    monkeypatch.setattr(LocalStateHandler, "backup", hang)
    hung = make("file", tmp_path / "hung.pkl").handler
    tasks = [asyncio.create_task(hung.abackup("there")) for _ in range(5)]
    await asyncio.sleep(0)
    await asyncio.wait_for(whole.handler.abackup(tmp_path / "copy.db"), PATIENCE / 2)
    goes_on.set()
    await asyncio.gather(*tasks)
    whole.handler.close()


@pytest.mark.leaves_files
@by_kind
def test_killed_at_a_copy(kind: str, tmp_path: Path) -> None:
    """A process killed while it copies leaves no database or directory at the path, or a whole one.

    The store is as it was, and the next copy clears what the killed one left.
    """
    cp = make(kind, tmp_path / KINDS[kind])
    for number in range(20):
        cp.run({"n": number}, run_id=f"{number}")
    before = states_of(cp)
    cp.handler.close()
    for at in (3, 12):
        target = tmp_path / f"copies {at}" / "copy"
        command = [sys.executable, str(SCRIPT), kind, str(tmp_path / KINDS[kind]), str(target)]
        ended = subprocess.run([*command, str(at)], check=False, timeout=60)
        assert ended.returncode in {-9, 0}
        assert states_of(cp) == before
        if kind != "file" and target.exists():
            assert states_of(make(kind, target)) == before
        cp.handler.backup(target.parent / "next")
        left = [path.name for path in target.parent.iterdir() if ".tmp" in path.name]
        assert left == [] or kind == "file"
        assert states_of(make(kind, target.parent / "next")) == before
    cp.handler.close()


def test_a_database_that_is_written_meanwhile(tmp_path: Path) -> None:
    """The copy is one moment: of two runs that are always stored together, both or none."""
    path = tmp_path / "runs.db"
    handler = SqliteStateHandler(path, flow="runs", **FAST)
    handler.write({"n": 0, "pad": "x" * 100_000}, "x")
    with contextlib.closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as other:
        other.execute("CREATE TABLE pairs (n)")
        stop = False

        async def write() -> None:
            number = 0
            while not stop:
                other.execute("BEGIN IMMEDIATE")
                other.execute("INSERT INTO pairs VALUES (?)", (number,))
                other.execute("INSERT INTO pairs VALUES (?)", (number,))
                other.execute("COMMIT")
                number += 1
                await asyncio.sleep(0)

        async def copy() -> None:
            nonlocal stop
            for number in range(10):
                await handler.abackup(tmp_path / f"{number}.db")
            stop = True

        async def both() -> None:
            await asyncio.gather(write(), copy())

        asyncio.run(both())
    for number in range(10):
        with contextlib.closing(sqlite3.connect(tmp_path / f"{number}.db")) as looked:
            assert looked.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            (pairs,) = looked.execute("SELECT count(*) FROM pairs").fetchone()
            assert pairs % 2 == 0


def test_the_disk_refuses(tmp_path: Path) -> None:
    """A parent that is a file is named as what failed, and nothing is left."""
    for kind, name in KINDS.items():
        cp = make(kind, tmp_path / kind / name)
        cp.run({"n": 1})
        (tmp_path / f"in {kind}").write_text("mine")
        with pytest.raises(StorageError, match=f"in {kind}"):
            cp.handler.backup(tmp_path / f"in {kind}" / "copy")
        assert not (tmp_path / f"in {kind}").is_dir()
