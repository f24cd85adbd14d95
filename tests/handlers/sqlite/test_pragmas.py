"""Each connection to a database is durable as promised, in WAL mode, and keeps its -wal short."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from run_factories import sql

from aiocheckpoint import CheckpointFlow
from aiocheckpoint.handlers.sqlite import SqliteStateHandler, _schema

if TYPE_CHECKING:
    from pathlib import Path

    from support import Runner, State

NORMAL, FULL = 1, 2
PAGES = 4000
MIGRATION = ("ALTER TABLE runs ADD COLUMN colour TEXT NOT NULL DEFAULT 'green'",)
PRAGMAS = ("synchronous", "wal_autocheckpoint", "journal_mode")
Opened = list[tuple[sqlite3.Connection, list[str]]]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Give each connection of this process that is made from now on, and what it executed."""
    made: Opened = []
    real = sqlite3.connect

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:  # noqa: ANN401
        connection: sqlite3.Connection = real(*args, **kwargs)
        executed: list[str] = []
        connection.set_trace_callback(executed.append)
        made.append((connection, executed))
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)
    return made


def settings(opened: Opened) -> list[tuple[object, ...]]:
    """Ask each connection that is open for its PRAGMAs."""
    found: list[tuple[object, ...]] = []
    for connection, _ in opened:
        try:
            rows = [connection.execute(f"PRAGMA {name}").fetchone() for name in PRAGMAS]
        except sqlite3.ProgrammingError:
            continue  # It was closed.
        found.append(tuple(row[0] for row in rows))
    return found


def looking_flow(path: Path, opened: Opened, **options: Any) -> tuple[CheckpointFlow, list[Any]]:  # noqa: ANN401
    """Make a flow whose second step reads, and then asks each connection for its PRAGMAs."""
    cp, found = CheckpointFlow(path, "sqlite", **options), list[Any]()

    @cp.add_step()
    def first(state: State) -> None:
        state["n"] = 1

    @cp.add_step()
    def second(state: State) -> None:
        assert cp.read("x")["n"] == 1
        found.extend(settings(opened))

    return cp, found


@pytest.mark.parametrize("before", ["no file", "a database", "an earlier version"])
@pytest.mark.parametrize(("fsync", "level"), [(True, FULL), (False, NORMAL)])
def test_levels(
    before: str,
    level: int,
    *,
    fsync: bool,
    opened: Opened,
    runner: Runner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connections that write and read flush at the level of `fsync=`, also after a migration.

    Where the file is new, in use before, or migrated when it is opened.
    """
    path = tmp_path / "runs.db"
    if before != "no file":
        with closing(SqliteStateHandler(path)) as handler:
            handler.write({"n": 0}, "w")
    if before == "an earlier version":
        monkeypatch.setattr(_schema, "MIGRATIONS", (*_schema.MIGRATIONS, MIGRATION))
    opened.clear()
    cp, found = looking_flow(path, opened, fsync=fsync)
    runner(cp, {}, run_id="x")
    assert sql(path, "PRAGMA user_version") == [(len(_schema.MIGRATIONS),)]
    assert len(found) >= 2, "one connection writes, and one reads"
    assert found == [(level, PAGES, "wal")] * len(found)
    cp.handler.close()


def test_no_commit_at_another_level(opened: Opened, runner: Runner, tmp_path: Path) -> None:
    """Nothing of a run is written before the level is set, and the level is set once."""
    cp, _ = looking_flow(tmp_path / "runs.db", opened)
    runner(cp, {}, run_id="x")
    writing = [executed for _, executed in opened if any("INTO runs" in one for one in executed)]
    assert writing
    for executed in writing:
        levels = [number for number, one in enumerate(executed) if "synchronous =" in one]
        first = next(number for number, one in enumerate(executed) if "INTO runs" in one)
        assert [executed[number] for number in levels] == ["PRAGMA synchronous = FULL"]
        assert levels[0] < first
    cp.handler.close()


def test_log_stays_short(tmp_path: Path) -> None:
    """The -wal is begun again and again: it does not grow with the number of snapshots."""
    path = tmp_path / "runs.db"
    (page,) = sql(tmp_path / "other.db", "PRAGMA page_size")[0]
    longest, most = 0, PAGES * page * 3 // 2
    with closing(SqliteStateHandler(path, fsync=False)) as handler:
        for number in range(8):
            handler.write({"filling": bytes(4_000_000), "n": number}, "x")
            longest = max(longest, path.with_name("runs.db-wal").stat().st_size)
    assert 0 < longest < most < 8 * 4_000_000
