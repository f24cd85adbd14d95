"""Pruning a database reads no row that stays."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from aiocheckpoint import Header
from aiocheckpoint.handlers.leased._requests import LeaseRecord, Save
from aiocheckpoint.handlers.sqlite._history import prune
from aiocheckpoint.handlers.sqlite._schema import MIGRATIONS


def instructions(connection: sqlite3.Connection, save: Save) -> int:
    """Prune, and count SQLite's virtual machine instructions."""
    done = list[None]()
    connection.set_progress_handler(lambda: done.append(None), 1)
    prune(connection, [save])
    connection.set_progress_handler(None, 1)
    return len(done)


@pytest.fixture
def kept() -> sqlite3.Connection:
    """Yield an empty table of kept snapshots."""
    connection = sqlite3.connect(":memory:")
    connection.execute(next(text for text in MIGRATIONS[0] if "TABLE kept" in text))
    return connection


def test_all_that_stay_are_passed_over(kept: sqlite3.Connection) -> None:
    """With keep="all", a step deletes the rows of other run numbers, and reads none of its own."""
    lease = LeaseRecord(("f", "x"), "x", "all")
    lease.row = 1
    save = Save(lease, Header(flow="f", position=0, number=2), b"", b"", None)
    insert = "INSERT INTO kept VALUES (?, ?, ?, '', '')"
    with closing(kept):
        kept.executemany(insert, [(1, 2, sequence) for sequence in range(10)])
        few = instructions(kept, save)
        kept.executemany(insert, [(1, 2, sequence) for sequence in range(10, 1000)])
        assert instructions(kept, save) == few
        kept.executemany(insert, [(1, 1, 5), (1, 3, 2000), (2, 1, 1)])
        prune(kept, [save])
        left = kept.execute("SELECT run, number, count(*) FROM kept GROUP BY 1, 2").fetchall()
    assert left == [(1, 2, 1000), (2, 1, 1)]
