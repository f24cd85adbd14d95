"""Processes that want the same runs, are killed among them, or are forked, on an object store."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from faulty_objects import names
from killed_workers import check_log, check_stored, run_killed_workers
from killed_workers_script import first_state, make_flow, run_id
from lease_owners import process
from locations import program
from outages import beside

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

    from object_server import ObjectServer

LONG = [pytest.mark.torture, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("number", [100, pytest.param(1000, marks=LONG)])
def test_overlapping_claims(
    objects: ObjectServer, bucket: str, bucket_url: str, tmp_path: Path, number: int
) -> None:
    """Two processes that want all runs at once, the queued ones too, do each of them once."""
    log = tmp_path / "log"
    cp = make_flow(bucket_url, lambda *_: None)
    cp.submit((run_id(n), first_state(n)) for n in range(0, number, 2))
    cp.handler.close()
    words = ("overlapping_script.py", bucket_url, log, number)
    with process(*words) as one, process(*words) as two:
        assert one.first == two.first == "ready"
        for each in (one, two):
            assert each.process.stdin is not None
            each.process.stdin.write("\n")
            each.process.stdin.flush()
        assert one.end() == two.end() == "done"
    check_log(log, number)
    check_stored(bucket_url, number)
    assert len([name for name in names(objects, bucket) if "/runs/" in name]) == number


@pytest.mark.parametrize(
    ("numbers", "restarts"), [((40, 2, 1), 0), pytest.param((1000, 3, 10), 5, marks=LONG)]
)
def test_killed_workers(
    own_objects: ObjectServer,
    object_keys: None,
    tmp_path: Path,
    numbers: tuple[int, int, int],
    restarts: int,
) -> None:
    """Processes are killed, and so is their server: no acknowledged step is executed again."""
    url = own_objects.url(own_objects.create_bucket(), "work")

    def restart() -> None:
        for _ in range(restarts):
            time.sleep(10)
            own_objects.kill()
            own_objects.start()

    with beside(restart):
        run_killed_workers(tmp_path, url, "fsync", *numbers)


@pytest.mark.parametrize(
    ("way", "children"), [("closed", 1), ("ended", 1), ("kept", 1), ("busy", 8)]
)
def test_forked_child(bucket_url: str, way: str, children: int) -> None:
    """A forked child runs and lists, also where the parent has closed its handler or is gone."""
    script = str(program("fork_sqlite_script.py"))
    command = [sys.executable, "-W", "ignore", script, bucket_url, way]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ok"] * children
    cp = CheckpointFlow(bucket_url, name="f")
    found = {header.run_id: header.status for header in cp.runs()}
    cp.handler.close()
    assert {f"child {number}" for number in range(children)} <= found.keys()
    assert set(found.values()) == {"finished"}
