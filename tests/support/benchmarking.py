"""Running the benchmarks as a user does, in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from locations import BENCHMARKS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BENCHMARKS", "run_benchmark"]


def run_benchmark(name: str, arguments: tuple[str, ...], place: Path) -> tuple[str, dict[str, Any]]:
    """Run a benchmark at a small size; return its output and its written figures."""
    figures = place / "figures.json"
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *arguments, f"--json={figures}"]
    environment = os.environ | {"TMPDIR": str(place)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    written: dict[str, Any] = json.loads(figures.read_text("utf-8"))
    return done.stdout, written
