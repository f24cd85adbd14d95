"""A run that kills its process is ended for good, and takes no other with it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import poison_script
import pytest
from poison import BAD, check_poison

from aiocheckpoint import RunTerminatedError

if TYPE_CHECKING:
    from pathlib import Path

    from aiocheckpoint import RunResult


@pytest.mark.leaves_files
def test_among_healthy_runs(tmp_path: Path) -> None:
    """Three workers: all healthy runs finish, none is killed more than twice at its step."""
    check_poison(tmp_path, healthy=40, seconds=0.15, limit=10, wait=90)


@pytest.mark.leaves_files
def test_at_each_start_of_one_service(tmp_path: Path) -> None:
    """A service that calls `aresume_all` at its start comes to its end at its sixth start."""
    path = str(tmp_path / "runs.db")
    cp = poison_script.make_flow(path, 0.15)
    cp.submit({f"good-{number}": {"poison": False} for number in range(3)})
    cp.submit({BAD: {"poison": True}})
    command = [sys.executable, poison_script.__file__, path, "0.15", "100"]
    starts = [subprocess.run(command, check=False).returncode for _ in range(5)]
    assert starts == [-9] * 5
    assert (header := cp.header(BAD)) is not None
    assert (header.status, header.killed) == ("running", 5)
    results = {result.run_id: result for result in asyncio.run(_resumed(path))}
    error = results.pop(BAD).error
    assert isinstance(error, RunTerminatedError)
    assert (error.by, error.reason) == (
        "starts",
        "its process was killed 5 times at step 'parse'",
    )
    assert {result.status for result in results.values()} <= {"finished"}
    assert cp.count(by="status")["finished"] == 3
    with pytest.raises(RunTerminatedError, match="killed 5 times"):
        cp.run(run_id=BAD)


async def _resumed(path: str) -> list[RunResult]:
    return await poison_script.make_flow(path, 0.15).aresume_all()
