"""A hundred thousand runs mapped, and as many events streamed: memory does not grow with them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from locations import program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.torture,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(sys.platform == "win32", reason="there is no module resource"),
]

SCRIPT = program("memory_load_script.py")
COUNT = 100_000
LIMIT = 100
AHEAD = 18
"""Events that a stream may be behind: 16, the one in hand, and the one that waits to come in."""
MOST_KIB = 16 * 1_024
"""What memory may grow by behind the first tenth; the states alone would be ten times that."""


def memory_load(place: Path, what: str, pace: str) -> dict[str, Any]:
    """Load a flow in a process of its own; give what was seen."""
    words = [sys.executable, str(SCRIPT), str(place / "runs.db"), what, pace, str(COUNT)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("pace", ["fast", "slow"])
def test_amap(pace: str, tmp_path: Path) -> None:
    """Of 100,000 pairs, no more than the limit are held at once, and memory stays as it was."""
    seen = memory_load(tmp_path, "amap", pace)
    assert seen["given"] == COUNT
    assert seen["most"] == LIMIT, seen
    assert seen["grown"] < MOST_KIB, seen


@pytest.mark.parametrize("pace", ["fast", "slow"])
def test_astream(pace: str, tmp_path: Path) -> None:
    """Of 100,000 events, no more than may be are ahead of the loop, and memory stays as it was."""
    seen = memory_load(tmp_path, "astream", pace)
    assert seen["given"] >= COUNT
    assert seen["most"] <= AHEAD, seen
    assert seen["grown"] < MOST_KIB, seen
