"""The tests that root skips, run without root's right to write everywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ordinary_user import MARK, as_ordinary_user, may_write_everywhere

TESTS = Path(__file__).parent.parent


@pytest.mark.skipif(not may_write_everywhere(), reason="the tests run by themselves")
def test_as_an_ordinary_user(tmp_path: Path) -> None:
    """Every test with the marker "ordinary" passes for a user with the rights of its files."""
    prefix = as_ordinary_user()
    if prefix is None:
        pytest.skip("needs setpriv, of util-linux")
    files = [file for file in TESTS.rglob("test_*.py") if f"mark.{MARK}" in file.read_text("utf-8")]
    options = ["-q", "-m", MARK, "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'tests'}"]
    command = [*prefix, sys.executable, "-m", "pytest", *options, *map(str, files)]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
