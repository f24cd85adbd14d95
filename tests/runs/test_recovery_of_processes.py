"""Several processes take on the runs of one database."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import recovery_script
from recovery_script import IDS, LEASE
from run_factories import sql

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiocheckpoint import CheckpointFlow

PATIENCE = 60.0
FAILED = 500


@contextmanager
def process(how: str, path: str, ahead: float = 0.0) -> Generator[subprocess.Popen[str]]:
    """Start a process of the script, whose clock is ahead, and wait until it is ready."""
    command = [sys.executable, recovery_script.__file__, how, path, str(ahead)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == "ready\n"
            yield started
        finally:
            started.kill()


def lines(ended: subprocess.Popen[str]) -> list[str]:
    """What a process says until its end."""
    out, _ = ended.communicate(timeout=PATIENCE)
    assert ended.returncode == 0
    return out.splitlines()


@pytest.mark.leaves_files
def test_two_that_start_at_once_try_each_failed_run_once(tmp_path: Path) -> None:
    """Of 500 runs that are due, each is tried by one of two processes, and by it alone."""
    path = str(tmp_path / "runs.db")
    cp = recovery_script.make_flow(path)
    states: dict[str, dict[str, Any]] = {
        f"doc-{number}": {"who": f"doc-{number}", "fails": True} for number in range(FAILED)
    }
    asyncio.run(_fail(cp, states))
    calls = Path(f"{path}-calls")
    calls.unlink()
    with process("pass", path, 15.0) as one, process("pass", path, 15.0) as other:
        for started in (one, other):
            assert started.stdin is not None
            started.stdin.write("\n")
            started.stdin.flush()
        shares = lines(one), lines(other)
    assert len(shares[0]) + len(shares[1]) == FAILED
    tried = Counter(line.split()[0] for line in calls.read_text("ascii").splitlines())
    assert tried == dict.fromkeys(states, 1)
    assert all(shares)


async def _fail(cp: CheckpointFlow, states: dict[str, dict[str, Any]]) -> None:
    results = await cp.amap(states)
    assert {type(result.error) for result in results} == {ValueError}


@pytest.mark.leaves_files
def test_what_the_old_release_drains_is_done_by_the_new_one(tmp_path: Path) -> None:
    """The new process looked for runs when there were none. It finds them all the same."""
    path = str(tmp_path / "runs.db")
    with process("drain", path) as old, process("work", path) as new:
        old.send_signal(signal.SIGTERM)
        assert sorted(lines(old)) == [f"{run_id} drained" for run_id in IDS]
        assert new.stdout is not None
        found = {new.stdout.readline() for _ in IDS}
        assert found == {f"{run_id} finished\n" for run_id in IDS}
        new.send_signal(signal.SIGTERM)
        assert lines(new) == ["ended"]


@pytest.mark.leaves_files
async def test_runs_of_a_lost_machine(tmp_path: Path) -> None:
    """A worker finds by itself that a machine gives no sign of life, and does its runs."""
    path = str(tmp_path / "runs.db")
    with process("hold", path) as lost:
        lost.kill()
        lost.wait()
    sql(tmp_path / "runs.db", "UPDATE owners SET host = 'pod-7f9c', boot = 'another-boot'")
    cp, done = recovery_script.make_flow(path, lease=LEASE), set[str | None]()
    drain: asyncio.Task[list[str | None]] | None = None
    async with asyncio.timeout(PATIENCE):
        async for result in cp.awork():
            done.add(result.run_id)
            if len(done) == len(IDS):
                drain = asyncio.create_task(cp.adrain())
        assert drain is not None
        assert await drain == []
    assert done == set(IDS)
