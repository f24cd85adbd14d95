"""Ctrl-C while `run` waits for the writer of a database."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from lease_owners import rows

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

OWNED = "SELECT run_id FROM runs WHERE owner IS NOT NULL"


@pytest.mark.skipif(os.name != "posix", reason="POSIX only")
@pytest.mark.parametrize("step", ["first", "last"])
def test_ctrl_c_while_a_snapshot_waits(step: str, tmp_path: Path) -> None:
    """The snapshot under way ends, then Ctrl-C comes out; nothing stays owned, no step is lost."""
    path, ran = tmp_path / "runs.db", list[str]()
    cp = CheckpointFlow(path, "sqlite")
    timers = list[threading.Timer]()

    def block(name: str, other: sqlite3.Connection) -> None:
        ran.append(name)
        if name == step and not timers:
            other.execute("BEGIN IMMEDIATE")
            press = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT])
            timers.extend([press, threading.Timer(0.3, other.rollback)])
            for timer in timers:
                timer.start()

    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    with closing(connection) as other:

        def first(state: dict[str, Any]) -> None:
            block("first", other)

        def last(state: dict[str, Any]) -> None:
            block("last", other)

        for function in (first, last):
            cp.add_step()(function)
        with pytest.raises(KeyboardInterrupt):
            cp.run({"n": 1}, run_id="x")
        for timer in timers:
            timer.join()
        assert rows(path, OWNED) == []
        assert cp.run(run_id="x", once=True) == {"n": 1}
    assert ran == ["first", "last"]
