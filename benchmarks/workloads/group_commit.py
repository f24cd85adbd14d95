"""The least that the steps of many runs can cost on SQLite: one transaction for a step of all."""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GroupCommit"]


class GroupCommit:
    """Updates a row of each run, all in one transaction, many times.

    The journal is a write-ahead log, and synchronous=FULL makes each commit wait for the disk. A
    committed row survives a power cut. Nothing is serialised, and no loop runs.

    Args:
        path: Where the database is made.
        runs: How many rows there are.
        steps: How many transactions a sample has.
        size: How many bytes a row's snapshot has.
    """

    def __init__(self, path: Path, runs: int, steps: int, size: int) -> None:
        self._runs = runs
        self._steps = steps
        self._size = size
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute("CREATE TABLE runs (id TEXT PRIMARY KEY, snapshot BLOB NOT NULL)")
        self._transact("INSERT INTO runs (snapshot, id) VALUES (?, ?)")

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def sample(self) -> float:
        """Do all steps, and give how many there are in a second."""
        begun = time.perf_counter()
        for _ in range(self._steps):
            self._transact("UPDATE runs SET snapshot = ? WHERE id = ?")
        return self._runs * self._steps / (time.perf_counter() - begun)

    def _transact(self, statement: str) -> None:
        snapshot = os.urandom(self._size)
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany(statement, [(snapshot, f"order-{n}") for n in range(self._runs)])
        self._database.execute("COMMIT")
