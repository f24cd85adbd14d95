"""The tables of a database are created and migrated wholly or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from locations import program
from simulated_processes import handler_apart, looking, shut_down

from aiocheckpoint import IncompatibleSnapshotError, StorageError
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.handlers.sqlite import _schema

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

    from aiocheckpoint import Header
    from aiocheckpoint.handlers.sqlite import SqliteStateHandler

SCRIPT = program("migrating_script.py")
NEXT = (
    "ALTER TABLE runs ADD COLUMN colour TEXT NOT NULL DEFAULT 'green'",
    "CREATE INDEX runs_by_colour ON runs (flow, colour)",
)
BROKEN = ("ALTER TABLE runs ADD COLUMN colour TEXT", "UPDATE runs SET status = NULL", "NONSENSE")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Yield a database of the present version with some runs in it."""
    place = tmp_path / "runs.db"
    handler = handler_apart(place, keep=3)
    for number in range(20):
        for index in range(3):
            state = {"n": number, "index": index, "checkpoint_index": index}
            handler.write(state, None if number == 0 else f"run {number}")
    shut_down(handler)
    return place


def content(path: Path) -> tuple[list[Header], list[State], list[list[tuple[int, int]]]]:
    """Read the whole content of a database, as a process that opens it now."""
    handler = handler_apart(path, keep=3)
    try:
        headers = handler.runs(Query())
        ids = [header.run_id for header in headers]
        return headers, [handler.read(one) for one in ids], [handler.kept(one) for one in ids]
    finally:
        shut_down(handler)


def version(path: Path) -> tuple[int, list[str]]:
    """Return the version of the tables, and the columns of the runs."""
    with looking(path) as connection:
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        columns = connection.execute("SELECT name FROM pragma_table_info('runs')").fetchall()
        return number, [name for (name,) in columns]


def add_migration(monkeypatch: pytest.MonkeyPatch, statements: tuple[str, ...]) -> int:
    """Add a migration to the library, and return its version number."""
    monkeypatch.setattr(_schema, "MIGRATIONS", (*_schema.MIGRATIONS, statements))
    return len(_schema.MIGRATIONS)


def test_a_migration_keeps_everything(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migrated database keeps all runs, and works."""
    before = content(path)
    assert len(before[0]) == 20
    later = add_migration(monkeypatch, NEXT)
    assert content(path) == before
    number, columns = version(path)
    assert number == later
    assert "colour" in columns
    handler = handler_apart(path, keep=3)
    handler.write({"n": "later"}, "later")
    shut_down(handler)
    assert len(content(path)[0]) == 21


def test_a_new_database_takes_all_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database created by a later release has the tables of its version at once."""
    later = add_migration(monkeypatch, NEXT)
    handler = handler_apart(tmp_path / "runs.db")
    handler.write({"n": 1})
    shut_down(handler)
    number, columns = version(tmp_path / "runs.db")
    assert number == later
    assert "colour" in columns


def test_open_handler_still_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has the database open can still write after another one migrated it."""
    earlier = handler_apart(path, keep=3)
    with earlier.locked("run 1"):
        add_migration(monkeypatch, NEXT)
        before = content(path)
        assert [one.run_id for one in before[0] if one.owner is not None] == ["run 1"]
    earlier.write({"n": "after"}, "run 1")
    shut_down(earlier)
    assert content(path)[1] != before[1]


def test_an_earlier_release_refuses_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier release refuses the database, says so, and changes nothing."""
    with monkeypatch.context() as patch:
        add_migration(patch, NEXT)
        content(path)
    before = path.read_bytes()
    with pytest.raises(IncompatibleSnapshotError, match="later release"):
        content(path)
    assert path.read_bytes() == before


def test_a_failing_migration_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing migration leaves the earlier version whole and usable."""
    before, tables = content(path), version(path)
    with monkeypatch.context() as patch:
        add_migration(patch, BROKEN)
        with pytest.raises(StorageError, match="NONSENSE"):
            content(path)
    assert version(path) == tables
    assert content(path) == before


def test_killed_in_a_migration(path: Path) -> None:
    """A process killed during a migration leaves the earlier version whole."""
    before, tables = content(path), version(path)
    ended = subprocess.run([sys.executable, str(SCRIPT), "die", str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert version(path) == tables
    assert content(path) == before


def test_processes_that_make_one_database(tmp_path: Path) -> None:
    """Three processes that open a new database at once all write to the same one."""
    for number in range(3):
        path = tmp_path / f"{number}.db"
        command = [sys.executable, str(SCRIPT), "open", str(path)]
        pipe = subprocess.PIPE
        others = [
            subprocess.Popen([*command, name], stdin=pipe, stdout=pipe, text=True)
            for name in ("one", "two", "three")
        ]
        for other in others:
            assert other.stdout is not None
            assert other.stdout.readline() == "ready\n"
        for other in others:
            assert other.stdin is not None
            other.stdin.write("go\n")
            other.stdin.flush()
        for other in others:
            other.communicate()
            assert other.returncode == 0
        assert [state["who"] for state in sorted_states(path)] == ["one", "three", "two"]


def test_threads_that_make_one_database(tmp_path: Path) -> None:
    """Threads whose stores open a new database at once all write to the same one."""
    gathered = threading.Barrier(6)

    def write(name: str) -> SqliteStateHandler:
        handler = handler_apart(tmp_path / "runs.db")
        gathered.wait()
        handler.write({"who": name}, name)
        return handler

    with ThreadPoolExecutor(6) as pool:
        for handler in pool.map(write, "abcdef"):
            shut_down(handler)
    assert [state["who"] for state in sorted_states(tmp_path / "runs.db")] == [*"abcdef"]


def sorted_states(path: Path) -> list[State]:
    """Read all states, ordered by their writers."""
    return sorted(content(path)[1], key=lambda state: str(state["who"]))
