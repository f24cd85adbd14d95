"""Paths of the project that tests read, and of the programs that tests start as processes."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
EXAMPLES = ROOT / "examples"
TESTS = ROOT / "tests"
EXPECTED = TESTS / "expected"
GOLDEN = TESTS / "golden"
PROGRAMS = TESTS / "programs"
SUPPORT = TESTS / "support"


def program(name: str) -> Path:
    """Return the path of a program in `tests/programs`.

    Args:
        name: Its file name, with the suffix.
    """
    return PROGRAMS / name


def with_support() -> dict[str, str]:
    """Return the environment of a process that imports modules of `tests/support`."""
    paths = [str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
