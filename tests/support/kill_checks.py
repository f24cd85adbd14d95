"""Programs that kill their own children, and the checks of the snapshots that a kill leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import kill_script
import line_kill_script
import pytest
import retry_kill_script
from support import FlowFactory

from aiocheckpoint import LocalStateHandler

if TYPE_CHECKING:
    from pathlib import Path

Seen = dict[str, Any]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
STEPS = [*range(len(kill_script.STEPS))]
NAMES = [*line_kill_script.STEPS]


def run_script(script: str, *words: object) -> list[Any]:
    """Let a script kill its children; return its report."""
    command = [sys.executable, script, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen: list[Any] = json.loads(done.stdout)
    return seen


def check_only_snapshot_left(path: Path) -> None:
    """Check that an undisturbed run deletes the temporary files of the killed ones."""
    FlowFactory(path).flow("a").run({})
    left = sorted(one.name for one in path.parent.iterdir())
    assert left == [path.name], left


def kill_writers(place: Path, durable: str, rounds: int) -> None:
    """Kill writers of growing numbers; the last acknowledged state is stored, or the next one.

    At most one temporary stays behind at a time: the next writer clears it.
    """
    seen = run_script(kill_script.__file__, place, "write", durable, rounds)
    assert len(seen) == rounds
    assert all(one["killed"] for one in seen)
    assert [one for one in seen if one["stored"] - one["told"] not in {0, 1}] == []
    assert max(one["left"] for one in seen) <= 1
    assert max(one["locks"] for one in seen) <= 1
    handler = LocalStateHandler(place / "checkpoint.pkl")
    assert handler.read()["filling"] == kill_script.FILLING
    check_only_snapshot_left(place / "checkpoint.pkl")


def kill_runs(place: Path, method: str, durable: str) -> int:
    """Kill a flow until it ends; check that it ends as if undisturbed, and return the kills.

    A step runs twice only if a kill came while it was running or not yet acknowledged.
    """
    place.mkdir(parents=True)
    seen = run_script(kill_script.__file__, place, method, durable, 400)
    assert seen[-1]["finished"]
    state = LocalStateHandler(place / "checkpoint.pkl").read()
    assert (state["trail"], state["checkpoint_index"]) == (STEPS, 0)
    effects = Counter(map(int, (place.parent / "effects").read_text("ascii").split()))
    assert sorted(effects) == STEPS
    kills = [one["killed"] for one in seen].count(True)
    assert effects.total() - len(STEPS) <= kills
    check_only_snapshot_left(place / "checkpoint.pkl")
    return kills


def kill_chains(place: Path, method: str, seed: int, chains: int) -> int:
    """Kill runs on lines of the library, and the runs that resume them; return the kills."""
    seen = run_script(line_kill_script.__file__, place, method, seed, chains)
    assert len(seen) == chains
    for chain in seen:
        check_chain(chain)
    return sum(life["died"] is not None for chain in seen for life in chain)


def check_chain(chain: list[Seen]) -> None:
    """Check that each life resumed after the last acknowledged step of the one before."""
    before: Seen = {"done": 0, "sequence": 0}
    for life in chain:
        assert life["began"] in {before["done"], None}, chain
        assert life["stored"] == NAMES[: life["done"]], chain
        assert life["acknowledged"] <= life["done"], chain
        assert before["done"] <= life["done"], chain
        assert before["sequence"] <= life["sequence"], chain
        assert sum(name.endswith(".tmp") for name in life["files"]) <= 1, chain
        before = life
    assert before["died"] or before["files"] == ["c.pkl"], chain
    check_effects(chain)


def check_effects(chain: list[Seen]) -> None:
    """Check that each step ran once, and again only if a life ended before its snapshot."""
    for number in range(len(NAMES)):
        runs = [life for life in chain if NAMES[number] in life["effects"]]
        assert all(life["died"] and life["done"] <= number for life in runs[:-1]), chain
        assert all(life["effects"].count(NAMES[number]) == 1 for life in runs), chain
        assert runs, chain


def kill_trials(place: Path, kind: str, method: str, seed: int, chains: int) -> int:
    """Kill runs that are retried, paused and approved until each is done; return the kills.

    Each ends as if undisturbed, with its data and state one graph. No attempt that a snapshot
    records is given to a step twice, and none is skipped.
    """
    seen = run_script(retry_kill_script.__file__, place, kind, method, seed, chains)
    assert len(seen) == chains
    done = {"rows": [0, 1, 2], "count": 2, "approved": True, "same": True, "checkpoint_index": 0}
    for chain in seen:
        assert chain["state"] == done, chain
        reported = [0, *chain["told"]]
        assert all(0 <= after - before <= 1 for before, after in pairwise(reported)), chain
    return sum(chain["killed"] for chain in seen)
