"""Processes that want the same runs, are killed among them, or are forked, on PostgreSQL."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from killed_workers import check_log, check_stored, run_killed_workers
from killed_workers_script import first_state, make_flow, run_id
from lease_owners import process
from locations import program
from outages import beside

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

    from postgres_server import PostgresServer

LONG = [pytest.mark.torture, pytest.mark.timeout(3600)]


OWNED = "SELECT count(*) FROM aiocheckpoint.runs WHERE owner IS NOT NULL OR token <> 0"
OWNERS = "SELECT count(*) FROM aiocheckpoint.owners"


@pytest.mark.parametrize("number", [400, pytest.param(2000, marks=LONG)])
def test_overlapping_claims(
    postgres: PostgresServer, database: str, tmp_path: Path, number: int
) -> None:
    """Two processes that want all runs at once, the queued ones too, do each of them once."""
    url, log = postgres.url(database), tmp_path / "log"
    cp = make_flow(url, lambda *_: None)
    cp.submit((run_id(n), first_state(n)) for n in range(0, number, 2))
    cp.handler.close()
    words = ("overlapping_script.py", url, log, number)
    with process(*words) as one, process(*words) as two:
        assert one.first == two.first == "ready"
        for each in (one, two):
            assert each.process.stdin is not None
            each.process.stdin.write("\n")
            each.process.stdin.flush()
        assert one.end() == two.end() == "done"
    check_log(log, number)
    check_stored(url, number)
    assert postgres.sql(OWNED, database=database) == [(0,)]
    assert postgres.sql(OWNERS, database=database) == [(0,)]


@pytest.mark.parametrize(
    ("numbers", "restarts"), [((60, 2, 2), 1), pytest.param((2000, 3, 10), 8, marks=LONG)]
)
def test_killed_workers_and_server(
    own_postgres: PostgresServer, tmp_path: Path, numbers: tuple[int, int, int], restarts: int
) -> None:
    """Processes are killed, and so is their server: no acknowledged step is executed again."""
    name = own_postgres.create_database()

    def restart() -> None:
        for _ in range(restarts):
            time.sleep(1 + random.random())  # noqa: S311 - no secret
            own_postgres.kill()
            own_postgres.start()

    with beside(restart):
        run_killed_workers(tmp_path, own_postgres.url(name), "fsync", *numbers)
    assert own_postgres.sql(OWNED, database=name) == [(0,)]


@pytest.mark.parametrize(
    ("way", "children"), [("closed", 1), ("ended", 1), ("kept", 1), ("busy", 8)]
)
def test_forked_child(postgres: PostgresServer, database: str, way: str, children: int) -> None:
    """A forked child runs and lists, also where the parent has closed its handler or is gone."""
    url = postgres.url(database)
    command = [sys.executable, "-W", "ignore", str(program("fork_sqlite_script.py")), url, way]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ok"] * children
    cp = CheckpointFlow(url, name="f")
    found = {header.run_id: header.status for header in cp.runs()}
    cp.handler.close()
    assert {f"child {number}" for number in range(children)} <= found.keys()
    assert set(found.values()) == {"finished"}
