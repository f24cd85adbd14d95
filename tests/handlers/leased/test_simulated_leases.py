"""The library's own code for leases keeps its promises in simulated schedules, each from a seed."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from locations import ROOT
from sim_leases import explain, find_failure
from sim_ledger import Counts
from sim_mutants import MUTANTS, search_mutant

if TYPE_CHECKING:
    from pathlib import Path

SCHEDULES = 1_000
MANY = 1_000_000
LONG = [pytest.mark.torture, pytest.mark.timeout(600)]
FOUND_SOON = ("no fence", "the fence is not asked")


def check(seeds: range) -> Counts:
    """Run schedules. The trace of the first that fails is shown, with the way to replay it."""
    counts = Counts()
    failed = find_failure(seeds, counts)
    assert failed is None, explain(failed)
    return counts


@pytest.mark.timeout(600)
def test_promises_hold_in_each_schedule() -> None:
    """One writer, nothing lost, no living owner robbed, every dead one succeeded."""
    counts = check(range(SCHEDULES))
    assert counts.commits > 10 * SCHEDULES
    assert min(counts.robbed, counts.succeeded, counts.lost, counts.unreachable) > 0


@pytest.mark.torture
@pytest.mark.timeout(0)
def test_a_million_schedules() -> None:
    """The same for a day of schedules."""
    check(range(MANY))


@pytest.mark.parametrize("seed", [3, 17])
def test_a_seed_is_one_schedule(seed: int) -> None:
    """A seed gives the same trace in each process, whatever its hashes are."""
    traces = {_trace(seed, hashes) for hashes in ("1", "2")}
    assert len(traces) == 1
    assert f"seed {seed}: no promise is broken" in traces.pop()


def _trace(seed: int, hashes: str) -> str:
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests" / "support")])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": hashes}
    command = [sys.executable, "-m", "sim_leases", str(seed)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    "name",
    [name if name in FOUND_SOON else pytest.param(name, marks=LONG) for name in MUTANTS],
)
def test_a_broken_rule_is_found(name: str, tmp_path: Path) -> None:
    """The schedules find a library that breaks a rule: one of the promises is broken by it."""
    assert "BrokenPromiseError" in search_mutant(MUTANTS[name], tmp_path, SCHEDULES)
