"""A run whose waiting caller disappears before the claim succeeds has no owner."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from lease_owners import rows

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

OWNED = "SELECT run_id FROM runs WHERE owner IS NOT NULL"
TURNS = 50


def flow(path: Path) -> CheckpointFlow:
    """Make a flow of one step, whose runs another process can read."""
    cp = CheckpointFlow(path, "sqlite")

    @cp.add_step()
    async def count(state: State) -> None:
        state["n"] = state.get("n", 0) + 1

    return cp


def throw_away_as_it_is_taken(cp: CheckpointFlow, path: Path, run_id: str) -> None:
    """Start a run while the database is locked, and close its loop before the lock is released."""

    async def begin() -> asyncio.Task[State]:
        run = asyncio.ensure_future(cp.arun({"n": 10}, run_id=run_id))
        for _ in range(TURNS):
            await asyncio.sleep(0)
        return run

    loop = asyncio.new_event_loop()
    connection = sqlite3.connect(path, isolation_level=None)
    with closing(connection) as other:
        other.execute("BEGIN IMMEDIATE")
        run = loop.run_until_complete(begin())
        loop.close()
        run.get_coro().close()
        del run
        gc.collect()
        other.rollback()


@pytest.mark.parametrize("before", ["nothing", "unfinished"])
def test_run_that_nobody_waits_for_is_given_back(before: str, tmp_path: Path) -> None:
    """A run whose coroutine was discarded during the claim is free at once."""
    path = tmp_path / "runs.db"
    cp = flow(path)
    asyncio.run(cp.arun({}, run_id="other"))
    if before == "unfinished":
        cp.add_step(name="more")(lambda _: None)
        cp.run({"n": 10}, run_id="x", until="count")
    throw_away_as_it_is_taken(cp, path, "x")
    cp.run({}, run_id="other")
    assert rows(path, OWNED) == []
    assert cp.run(run_id="x")["n"] == 11
