"""Killed at any moment: the old snapshot or the new one, nothing lost that was acknowledged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import kill_script
import pytest
from support import Lab

from aiocheckpoint import LocalStateHandler

SCRIPT = Path(kill_script.__file__)
pytestmark = [
    pytest.mark.leaves_files,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]


def kill_many(place: Path, word: str, durable: str, rounds: int) -> list[dict[str, Any]]:
    """Let the script kill its children; give what each kill left behind."""
    words = [sys.executable, str(SCRIPT), str(place), word, durable, str(rounds)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen: list[dict[str, Any]] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("durable", ["fsync", "no-fsync"])
@pytest.mark.parametrize(
    "rounds", [25, pytest.param(500, marks=[pytest.mark.torture, pytest.mark.timeout(600)])]
)
def test_killed_writers(durable: str, rounds: int, lab: Lab) -> None:
    """After each kill the last acknowledged state is stored or the one after, and nothing else.

    At most one temporary stays behind at a time: the next writer clears it.
    """
    place = lab.path.parent
    seen = kill_many(place, "write", durable, rounds)
    assert all(one["killed"] for one in seen)
    assert [one for one in seen if one["stored"] - one["told"] not in {0, 1}] == []
    assert max(one["left"] for one in seen) <= 1
    assert max(one["locks"] for one in seen) <= 1
    last = LocalStateHandler(lab.path).read()
    assert last["filling"] == kill_script.FILLING
    lab.flow("a").run({})
    assert [path.name for path in place.iterdir()] == ["checkpoint.pkl"]


@pytest.mark.parametrize("durable", ["fsync", "no-fsync"])
@pytest.mark.parametrize(
    "times", [1, pytest.param(30, marks=[pytest.mark.torture, pytest.mark.timeout(600)])]
)
def test_killed_runs(durable: str, times: int, tmp_path: Path) -> None:
    """A run killed again and again comes to its end as if nothing had happened.

    A step is run twice only where it was under way, or not yet acknowledged, at a kill.
    """
    for number in range(times):
        place = tmp_path / str(number) / "place"
        place.mkdir(parents=True)
        seen = kill_many(place, "run", durable, 200)
        assert seen[-1]["finished"]
        state = LocalStateHandler(place / "checkpoint.pkl").read()
        steps = list(range(len(kill_script.STEPS)))
        assert (state["trail"], state["checkpoint_index"]) == (steps, 0)
        effects = Counter(map(int, (place.parent / "effects").read_text("ascii").split()))
        assert sorted(effects) == steps
        assert effects.total() - len(steps) <= len(seen)
        lab = Lab(place / "checkpoint.pkl")
        lab.flow("a").run({})
        assert [path.name for path in place.iterdir()] == ["checkpoint.pkl"]
