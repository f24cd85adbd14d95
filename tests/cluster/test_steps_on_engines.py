"""Single steps on loky and Dask, which send functions by value and replace lost workers."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from locations import program, with_support

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("engine", ["loky", "dask"])
def test_engine_executes_steps(engine: str, tmp_path: Path) -> None:
    """Lambdas are executed there, and a killed worker is no failure of its run."""
    ended = subprocess.run(
        [sys.executable, program("steps_on_engines_script.py"), engine, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env=with_support(),
    )
    assert ended.stdout.endswith("done\n"), ended.stderr[-5_000:]
