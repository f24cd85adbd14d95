"""What the large benchmarks count that is no time: memory of a step, rows that hold."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from locations import BENCHMARKS

from aiocheckpoint import CheckpointFlow

GIGABYTE = 1_000_000_000
ROWS = 100_000

pytestmark = pytest.mark.torture


@pytest.mark.parametrize("method", ["run", "arun"])
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system cannot tell")
def test_a_gigabyte_takes_hardly_any_memory_beside_itself(method: str, tmp_path: Path) -> None:
    """One step of a state of 1 GB never has 5 % of it in memory a second time."""
    command = [sys.executable, "-m", "workloads.peak", str(tmp_path), method, str(GIGABYTE)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=BENCHMARKS)

    assert 0 <= int(done.stdout) < 0.05 * GIGABYTE


def test_a_hundred_thousand_copied_rows_are_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row that the benchmark copies is listed, page by page, as a finished run of its own."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    place = f"sqlite:///{tmp_path / 'runs.db'}"
    asyncio.run(import_module("workloads.flows").counting_run(place, 5)("template"))
    import_module("workloads.rows").fill(tmp_path / "runs.db", "template", ROWS)
    flow = CheckpointFlow(place, name="orders")
    try:
        ids = [header.run_id for header in flow.runs("finished")]
    finally:
        flow.handler.close()

    assert len(ids) == len(set(ids)) == ROWS
