"""SQLite's locks are dropped where a process opens and closes the database's file."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from locations import program

from aiocheckpoint import CheckpointFlow, StorageError, inspect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SCRIPT = program("locks_dropped_script.py")
PATIENCE = 60.0
RUNS = 5
VISIT = """
import sys
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow(sys.argv[1], "sqlite", name="f")
cp.add_step(name="a")(lambda state: None)
if sys.argv[2] == "write":
    cp.run({}, run_id="visitor")
cp.runs()
if sys.argv[3] == "close":
    cp.handler.close()
"""
TRY_TO_LOCK = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
try:
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
except OSError:
    print("held")
else:
    print("free")
"""
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX alone drops locks")


@posix
@pytest.mark.leaves_files
@pytest.mark.parametrize("end", ["close", "exit"])
@pytest.mark.parametrize("work", ["write", "read"])
@pytest.mark.parametrize("how", ["inspect", "copy", "other"])
def test_opened_and_closed(how: str, work: str, end: str, tmp_path: Path) -> None:
    """A process whose locks were dropped loses nothing when another one closes the database."""
    path = tmp_path / "runs.db"
    command = [sys.executable, str(SCRIPT), str(path), how, str(RUNS)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as worker:
        assert worker.stdout is not None
        reported = [worker.stdout.readline().strip() for _ in range(RUNS + 1)]
        assert reported[-1] == "ready"
        subprocess.run(
            [sys.executable, "-c", VISIT, str(path), work, end], check=True, timeout=PATIENCE
        )
        reported += worker.communicate("\n", timeout=PATIENCE)[0].split()
    cp = CheckpointFlow(path, "sqlite", name="f")
    cp.add_step(name="a")(lambda state: None)
    found = {header.run_id for header in cp.runs()}
    cp.handler.close()
    assert len(reported) == 2 * RUNS + 1
    assert set(reported) - {"ready"} <= found


def lock_state(path: Path) -> str:
    """Return whether a process holds SQLite's shared lock of a database."""
    command = [sys.executable, "-c", TRY_TO_LOCK, str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def run_in_file(path: Path) -> None:
    """Run a flow whose checkpoint is a file."""
    cp = CheckpointFlow(path, "local")
    cp.add_step(name="a")(lambda state: None)
    cp.run({})


READERS: dict[str, Callable[[Path], object]] = {
    "read": lambda path: CheckpointFlow(path, "local").read(),
    "run": run_in_file,
}


@posix
@pytest.mark.parametrize("reader", READERS)
def test_database_in_use_is_not_opened(reader: str, tmp_path: Path) -> None:
    """A database in use is refused by name, and its locks stay."""
    path = tmp_path / "runs.db"
    cp = CheckpointFlow(path, "sqlite")
    cp.add_step(name="a")(lambda state: None)
    cp.run({}, run_id="r")
    with pytest.raises(StorageError, match=r"SQLite database.*sqlite:///"):
        READERS[reader](path)
    assert lock_state(path) == "held"
    cp.handler.close()


@posix
def test_database_in_use_is_inspected(tmp_path: Path) -> None:
    """A database in use is read in its own process, by its plain path, and its locks stay."""
    path = tmp_path / "runs.db"
    cp = CheckpointFlow(path, "sqlite")
    cp.add_step(name="a")(lambda state: None)
    cp.run({}, run_id="r")
    for _ in range(2):
        assert inspect(path, run_id="r").finished
        assert lock_state(path) == "held"
    cp.handler.close()


@posix
@pytest.mark.leaves_files
def test_database_of_another_connection(tmp_path: Path) -> None:
    """A database that only the user's own connection has open keeps its locks as well."""
    path = tmp_path / "own.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (x)")
        assert lock_state(path) == "held"
        for _ in range(2):
            with pytest.raises(StorageError, match="another program"):
                inspect(path)
            assert lock_state(path) == "held"


@posix
def test_last_to_close(tmp_path: Path) -> None:
    """After the last process has closed the database, the file alone holds everything."""
    path = tmp_path / "runs.db"
    cp = CheckpointFlow(path, "sqlite", name="f")
    cp.add_step(name="a")(lambda state: None)
    cp.run({}, run_id="r")
    subprocess.run([sys.executable, "-c", VISIT, str(path), "write", "close"], check=True)
    assert path.with_name("runs.db-wal").exists()
    cp.handler.close()
    assert [one.name for one in tmp_path.iterdir()] == ["runs.db"]
