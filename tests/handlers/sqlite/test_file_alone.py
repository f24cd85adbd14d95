"""After a close the file alone holds everything, and its space can be given back."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from locations import program
from simulated_processes import handler_apart, looking, shut_down

from aiocheckpoint import CheckpointFlow, StorageError
from aiocheckpoint.handlers.sqlite import SqliteStateHandler, _maintenance, _schema

if TYPE_CHECKING:
    from collections.abc import Generator

SCRIPT = program("file_alone_script.py")
RUNS = 40
PATIENCE = 60.0


@contextlib.contextmanager
def service(path: Path, name: str = "s") -> Generator[subprocess.Popen[str], None, None]:
    """Start a service that has done its runs and waits for SIGTERM."""
    command = [sys.executable, str(SCRIPT), str(path), name, str(RUNS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "done\n"
            yield process
        finally:
            process.kill()


def count_alone(path: Path, folder: Path) -> int:
    """Count the runs in a copy of the file alone."""
    folder.mkdir()
    shutil.copy(path, folder / "runs.db")
    handler = SqliteStateHandler(folder / "runs.db", flow="orders")
    try:
        return handler.count()
    finally:
        handler.close()


def test_after_sigterm(tmp_path: Path) -> None:
    """A service that SIGTERM ends cleanly leaves one file with all of its runs."""
    path = tmp_path / "runs.db"
    with service(path) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["runs.db"]
    assert count_alone(path, tmp_path / "copy") == RUNS


def test_processes_that_end_together(tmp_path: Path) -> None:
    """Of three processes that end at once, the last one leaves all runs in the file."""
    path = tmp_path / "runs.db"
    with service(path, "a") as one, service(path, "b") as two, service(path, "c") as three:
        for process in (one, two, three):
            process.send_signal(signal.SIGTERM)
        for process in (one, two, three):
            assert process.wait(PATIENCE) == 0
    assert count_alone(path, tmp_path / "copy") == 3 * RUNS


def test_one_closes_while_another_goes_on(tmp_path: Path) -> None:
    """A process that closes puts everything into the file, while another one uses it."""
    path = tmp_path / "runs.db"
    with service(path) as process:
        handler = SqliteStateHandler(path, flow="orders")
        handler.write({"n": 1}, "x")
        handler.close()
        assert count_alone(path, tmp_path / "copy") == RUNS + 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


@pytest.mark.leaves_files
def test_killed_and_copied_whole(tmp_path: Path) -> None:
    """After SIGKILL the directory has all runs, and so has a backup that was made before it."""
    path = tmp_path / "store" / "runs.db"
    path.parent.mkdir()
    with service(path) as process:
        handler = SqliteStateHandler(path, flow="orders")
        handler.backup(tmp_path / "backup.db")
        handler.close()
        process.kill()
    assert count_alone(tmp_path / "backup.db", tmp_path / "copy") == RUNS
    shutil.copytree(path.parent, tmp_path / "moved")
    moved = SqliteStateHandler(tmp_path / "moved" / "runs.db", flow="orders")
    assert moved.count() == RUNS
    moved.close()


@pytest.mark.leaves_files
def test_the_file_of_a_new_database_has_its_tables(tmp_path: Path) -> None:
    """The file is a database of this library from the beginning, also without its "-wal"."""
    handler = handler_apart(tmp_path / "runs.db")
    handler.write({"n": 1}, "x")
    shutil.copy(tmp_path / "runs.db", tmp_path / "copy.db")
    shut_down(handler)
    with looking(tmp_path / "copy.db") as connection:
        found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        assert {"runs", "owners", "kept"} <= found
        (number,) = connection.execute("PRAGMA application_id").fetchone()
    assert number == _schema.APPLICATION_ID


def test_aclose(tmp_path: Path) -> None:
    """The twin closes as well, and the next use opens the file again."""
    cp = CheckpointFlow(tmp_path / "runs.db", "sqlite", name="orders")
    cp.add_step(name="a")(lambda state: None)

    async def run(run_id: str) -> None:
        await cp.arun({}, run_id=run_id)
        await cp.handler.aclose()

    for run_id in ("x", "y"):
        asyncio.run(run(run_id))
        assert [file.name for file in tmp_path.iterdir()] == ["runs.db"]
    assert count_alone(tmp_path / "runs.db", tmp_path / "copy") == 2


def fill(handler: SqliteStateHandler, count: int) -> None:
    """Store runs with 10 kB each."""
    for number in range(count):
        handler.write({"pad": "x" * 10_000, "n": number}, f"{number}")


def bytes_of(path: Path) -> int:
    """Bytes of a database and its "-wal"."""
    return sum(file.stat().st_size for file in (path, Path(f"{path}-wal")) if file.exists())


def test_pruned_and_compacted(tmp_path: Path) -> None:
    """What deleted runs took is given back, while a process goes on with the database."""
    path = tmp_path / "runs.db"
    with service(path) as process:
        handler = SqliteStateHandler(path, flow="big", fsync=False)
        fill(handler, 200)
        for number in range(199):
            handler.remove(f"{number}")
        full = bytes_of(path)
        given = asyncio.run(handler.acompact())
        assert bytes_of(path) == full - given < 200_000
        assert handler.read("199")["n"] == 199
        assert handler.compact() == 0
        process.send_signal(signal.SIGUSR1)  # It does its runs once more.
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    handler.write({"n": 1}, "later")
    assert handler.count() == 2
    handler.close()
    with looking(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert count_alone(path, tmp_path / "copy") == 2 * RUNS


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN"])
def test_compacted_beside_others(
    begin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program's transaction is not waited for without end. Later it succeeds."""
    monkeypatch.setattr(_maintenance, "_SECONDS_FOR_OTHERS", 0.1)
    handler = SqliteStateHandler(tmp_path / "runs.db", flow="big", fsync=False)
    fill(handler, 20)
    with looking(tmp_path / "runs.db") as other:
        other.execute(begin)
        other.execute("SELECT count(*) FROM runs").fetchone()
        if begin == "BEGIN":  # A reader is in nobody's way but the compaction's.
            for number in range(20):
                handler.remove(f"{number}")
        with pytest.raises(StorageError, match="fuser") as info:
            handler.compact()
        assert info.value.errno == errno.EBUSY
        other.execute("ROLLBACK")
    assert handler.count() == (0 if begin == "BEGIN" else 20)
    handler.compact()
    assert not (tmp_path / "runs.db-wal").stat().st_size
    handler.close()


def test_nothing_to_compact(tmp_path: Path) -> None:
    """No database is made by it."""
    handler = SqliteStateHandler(tmp_path / "runs.db")
    assert handler.compact() == 0
    handler.close()
    assert list(tmp_path.iterdir()) == []


def test_a_long_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The "-wal" that a long reader has made grow is cut when it is gone."""
    monkeypatch.setattr(_schema, "_MOST_WAL_BYTES", 100_000)
    monkeypatch.setattr(_schema, "_PAGES_BETWEEN_CHECKPOINTS", 20)
    handler = handler_apart(tmp_path / "runs.db", fsync=False)
    handler.write({"n": 1}, "first")
    wal = tmp_path / "runs.db-wal"
    with looking(tmp_path / "runs.db") as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM runs").fetchone()
        fill(handler, 100)
        assert wal.stat().st_size > 1_000_000
        reader.execute("ROLLBACK")
    fill(handler, 5)
    assert wal.stat().st_size < 120_000
    assert handler.count() == 101
    shut_down(handler)


def test_no_database_at_the_path(tmp_path: Path) -> None:
    """A file that is no database is neither compacted nor copied, and stays."""
    (tmp_path / "runs.db").write_bytes(b"mine" * 1000)
    handler = SqliteStateHandler(tmp_path / "runs.db")
    for act in (handler.compact, lambda: handler.backup(tmp_path / "copy.db")):
        with pytest.raises(StorageError, match="no SQLite database"):
            act()
    assert [file.name for file in tmp_path.iterdir()] == ["runs.db"]
    assert (tmp_path / "runs.db").read_bytes() == b"mine" * 1000


def test_other_programs_can_read_the_copy(tmp_path: Path) -> None:
    """The copy is a database that SQLite opens, without owners."""
    handler = SqliteStateHandler(tmp_path / "runs.db")
    handler.write({"n": 1}, "x")
    with handler.locked("y"):
        handler.backup(tmp_path / "copy.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as connection:
        assert connection.execute("SELECT count(*) FROM owners").fetchone() == (0,)
        assert connection.execute("SELECT run_id, owner FROM runs").fetchall() == [("x", None)]
    handler.close()
