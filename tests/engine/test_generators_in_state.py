"""A random generator in the state goes on where it was, in another process and in a retry."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow, Retry
from aiocheckpoint.testing import crash_everywhere

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Runner, State

PROGRAM = """
import json, sys
from importlib import import_module
from aiocheckpoint import CheckpointFlow

def draw(state):
    if "rng" not in state:
        state["rng"] = getattr(import_module(state["module"]), state["maker"])(7)
    state["drawn"] = [*state.get("drawn", ()), state["rng"].random()]

cp = CheckpointFlow(sys.argv[1])
for name in "abc":
    cp.add_step(name=name)(draw)
given = dict(zip(("module", "maker"), sys.argv[3:5]))
print(json.dumps(cp.run(given, until=sys.argv[2])["drawn"]))
"""
GENERATORS = [("random", "Random"), ("numpy.random", "default_rng")]


def seeded() -> random.Random:
    """Make the same generator each time."""
    return random.Random(7)  # noqa: S311 - no secret


@pytest.mark.parametrize(("module", "maker"), GENERATORS)
def test_generator_in_another_process(module: str, maker: str, tmp_path: Path) -> None:
    """Steps in a process each draw the numbers that one generator gives in a row."""
    for name in "abc":
        words = [sys.executable, "-c", PROGRAM, str(tmp_path / "c.pkl"), name, module, maker]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    rng = getattr(import_module(module), maker)(7)
    assert json.loads(done.stdout) == [rng.random() for _ in "abc"]


def test_generator_of_an_attempt(runner: Runner, tmp_path: Path) -> None:
    """Each attempt of a step draws the same numbers, since its state is that on entry."""
    drawn: list[float] = []
    cp = CheckpointFlow(tmp_path / "c.pkl")

    @cp.add_step(retry=Retry(attempts=3, wait_initial=0.001, wait_max=0.001, wait_jitter=0))
    def draw(state: State) -> None:
        drawn.append(state["rng"].random())
        if len(drawn) < 3:
            raise OSError

    runner(cp, {"rng": seeded()})
    assert drawn == [seeded().random()] * 3


def flow_of(make: Callable[[State], random.Random]) -> Callable[[str], CheckpointFlow]:
    """Give the maker of a flow whose two steps draw from a generator."""

    def make_flow(path: str) -> CheckpointFlow:
        cp = CheckpointFlow(path, fsync=False)
        for name in "ab":

            @cp.add_step(name=name)
            def draw(state: State, name: str = name) -> None:
                state[name] = make(state).random()

        return cp

    return make_flow


def test_generator_outside_of_the_state() -> None:
    """`crash_everywhere` finds the flow that draws from a generator of its own, and no other."""
    outside = seeded()
    kept: Any = flow_of(lambda state: state["rng"])
    assert crash_everywhere(kept, {"rng": seeded()}, same=same_numbers) > 3
    with pytest.raises(AssertionError, match="'a', 'b'"):
        crash_everywhere(flow_of(lambda state: outside), {})


def same_numbers(one: State, other: State) -> bool:
    """Compare two states by the numbers drawn: generators are compared by identity."""
    return (one["a"], one["b"]) == (other["a"], other["b"])
