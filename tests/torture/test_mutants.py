"""Mutation testing: the tests notice small changes to the modules that decide.

    pip install -e '.[test,test-mutation]'
    MUTANTS=100 MUTANTS_REPORT=mutants.txt pytest -m torture tests/torture/test_mutants.py

`MUTANTS` is how many mutants of each module are tried, drawn at random by `MUTANTS_SEED`. The
survivors are appended to the file `MUTANTS_REPORT`. `-k plan` picks a module.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mutants import TESTS, try_mutants

pytestmark = [pytest.mark.torture, pytest.mark.timeout(0)]

LOWEST_SHARE = 0.8
"""Of the survivors some are the same program, such as a longer timeout or another buffer size."""


@pytest.mark.parametrize("module", TESTS)
def test_mutants_are_killed(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly every mutant of a module fails a test that concerns it."""
    pytest.importorskip("cosmic_ray")
    report = Path(os.environ.get("MUTANTS_REPORT", tmp_path / "mutants.txt")).absolute()
    most, seed = int(os.environ.get("MUTANTS", "100")), int(os.environ.get("MUTANTS_SEED", "0"))
    copy = tmp_path / "tree"
    copy.mkdir()
    monkeypatch.chdir(copy)
    figures = try_mutants(module, copy, most, seed)
    with report.open("a") as file:
        file.write(f"{figures}\n\n")
    assert figures.share_killed >= LOWEST_SHARE, str(figures)
