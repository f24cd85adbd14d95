"""A living owner keeps its runs, whatever keeps it from renewing. One that is stopped does not."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from lease_owners import PATIENCE, TAKEN, owner, process, rows, successor
from locations import program

from aiocheckpoint import RunInProgressError
from aiocheckpoint.handlers.sqlite._owners import Owners

if TYPE_CHECKING:
    from pathlib import Path

    from aiocheckpoint import CheckpointFlow

pytestmark = [
    pytest.mark.leaves_files,
    pytest.mark.skipif(sys.platform != "linux", reason="the states of processes are Linux's"),
]
LEASE = 0.3
NO_BEAT_SOON = 3600.0
"""A lease of owners that may not be stopped in the midst of a heartbeat's transaction."""
SHORTENED = f"UPDATE owners SET lease = {LEASE}, expires = 0"  # noqa: S608
"""Other processes see a short lease, and a time in the past by any clock."""


def one_pass(cp: CheckpointFlow) -> list[str | None]:
    """Resume all runs without an owner once, and return their ids."""

    async def resume_all() -> list[str | None]:
        return [result.run_id async for result in cp.aresume_all()]

    return asyncio.run(resume_all())


def look_for_two_leases(cp: CheckpointFlow) -> list[str | None]:
    """Resume all, again and again for longer than two leases, and return the ids."""
    found, deadline = list[str | None](), time.monotonic() + 2.5 * LEASE
    while time.monotonic() < deadline:
        found += one_pass(cp)
        time.sleep(LEASE / 5)
    return found


def test_database_held_by_a_third_program(tmp_path: Path) -> None:
    """An owner kept from renewing by another program's write lock keeps its runs."""
    path = tmp_path / "runs.db"
    with owner(path, LEASE, "x") as other, closing(sqlite3.connect(path)) as third:
        third.isolation_level = None
        third.execute("BEGIN IMMEDIATE")
        time.sleep(2 * LEASE)
        # The look comes before the owner can write: the asker was the first to get the lock.
        asker = Owners(str(path), LEASE)
        asker.expire_dead(third)
        third.execute("COMMIT")
        assert one_pass(successor(path)) == []
        assert other.end() == "done"


def test_waiting_behind_a_third_program(tmp_path: Path) -> None:
    """Askers that were kept waiting as well do not take the run, with wait= neither."""
    path = tmp_path / "runs.db"
    holder = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
        f"c.execute('BEGIN IMMEDIATE'); print(flush=True); time.sleep({2.5 * LEASE})"
    )
    with owner(path, LEASE, "x") as other:
        command = [sys.executable, "-c", holder, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as third:
            assert third.stdout is not None
            assert third.stdout.readline() == "\n"
            asker = [sys.executable, str(program("asker_script.py")), str(path), "x", str(LEASE)]
            done = subprocess.run(asker, capture_output=True, text=True, check=True)
            assert done.stdout == "x RunInProgressError\n"
        assert other.end() == "done"


def test_held_interpreter(tmp_path: Path) -> None:
    """An owner whose interpreter is held for longer than the lease keeps its run."""
    path = tmp_path / "runs.db"
    words = (path, LEASE, 4 * LEASE)
    with process("held_interpreter_script.py", *words) as other:
        assert other.first == "held"
        assert look_for_two_leases(successor(path)) == []
        assert other.end() == "done"


def test_owner_stopped_by_a_debugger(tmp_path: Path) -> None:
    """An owner that a debugger stops for longer than the lease keeps its run."""
    path = tmp_path / "runs.db"
    with owner(path, NO_BEAT_SOON, "x") as other:
        rows(path, SHORTENED)
        with process("debugger_script.py", other.process.pid) as debugger:
            if debugger.first != "attached":
                pytest.skip("debuggers are not allowed here")
            assert look_for_two_leases(successor(path)) == []
            debugger.end()
        assert other.end() == "done"


def test_stopped_owner_and_single_passes(tmp_path: Path) -> None:
    """Two passes of one flow, a lease apart, take the runs of a stopped owner."""
    path = tmp_path / "runs.db"
    with owner(path, NO_BEAT_SOON, "x") as other:
        rows(path, SHORTENED)
        other.suspend()
        cp = successor(path)
        assert one_pass(cp) == []
        with pytest.raises(RunInProgressError, match="no sign of life") as info:
            cp.run(run_id="x")
        assert 0 <= (info.value.lease_left or -1) <= LEASE
        time.sleep(1.2 * LEASE)
        assert one_pass(cp) == ["x"]
        assert cp.read("x")["trail"] == TAKEN["trail"]
        other.wake()
        assert other.end() == "LeaseLostError"


def test_owner_that_went_on_between_two_looks(tmp_path: Path) -> None:
    """An owner that is stopped at both looks, and went on in between, keeps its run."""
    path = tmp_path / "runs.db"
    with owner(path, NO_BEAT_SOON, "x") as other:
        rows(path, SHORTENED)
        other.suspend()
        cp = successor(path)
        assert one_pass(cp) == []
        other.wake()
        other.suspend()
        time.sleep(1.2 * LEASE)
        assert one_pass(cp) == []
        other.wake()
        assert other.end() == "done"


def test_number_of_another_process(tmp_path: Path) -> None:
    """A stopped process that has the owner's number, as in another container, is not the owner."""
    path = tmp_path / "runs.db"
    command = [sys.executable, "-c", "input()"]
    with owner(path, NO_BEAT_SOON, "x") as other, subprocess.Popen(command, stdin=-1) as stopped:
        stopped.send_signal(signal.SIGSTOP)
        rows(path, SHORTENED)
        rows(path, f"UPDATE owners SET pid = {stopped.pid}")  # noqa: S608
        assert look_for_two_leases(successor(path)) == []
        stopped.kill()
        assert other.end() == "done"


@pytest.mark.root
@pytest.mark.parametrize(
    "options", [["--pid", "--fork", "--mount-proc"], ["-T", "--monotonic", "86400"]], ids=" ".join
)
def test_asker_in_another_namespace(options: list[str], tmp_path: Path) -> None:
    """An asker that sees other numbers of processes, or another clock, robs no living owner."""
    path, unshare = tmp_path / "runs.db", shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, *options, "true"], check=False).returncode:
        pytest.skip("namespaces cannot be made here")
    with owner(path, NO_BEAT_SOON, "x") as other:
        rows(path, SHORTENED if "--pid" in options else "SELECT 1")
        asker = [sys.executable, str(program("asker_script.py")), str(path)]
        done = subprocess.run(
            [unshare, *options, *asker], capture_output=True, text=True, check=True
        )
        assert done.stdout == ""
        assert other.end() == "done"


def test_clock_of_another_container(tmp_path: Path) -> None:
    """The time in an owner's row, of a clock that may not be this one's, is not compared."""
    path = tmp_path / "runs.db"
    with owner(path, NO_BEAT_SOON, "x") as other:
        rows(path, SHORTENED)
        assert one_pass(successor(path)) == []
        assert other.end() == "done"


def test_deleted_lock_file_is_made_again(tmp_path: Path) -> None:
    """The next heartbeat makes a lock file again that a cleaner of old files has deleted."""
    path = tmp_path / "runs.db"
    with owner(path, LEASE, "x") as other:
        (lock,) = tmp_path.glob("*-owner-*")
        lock.unlink()
        deadline = time.monotonic() + PATIENCE
        while not lock.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert one_pass(successor(path)) == []
        assert other.end() == "done"


def test_lock_file_stays_young(tmp_path: Path) -> None:
    """Each heartbeat renews the time of the lock file, which cleaners of old files look at."""
    path = tmp_path / "runs.db"
    with owner(path, LEASE, "x"):
        (lock,) = tmp_path.glob("*-owner-*")
        os.utime(lock, (0, 0))
        deadline = time.monotonic() + PATIENCE
        while not lock.stat().st_mtime:
            assert time.monotonic() < deadline
            time.sleep(0.01)
