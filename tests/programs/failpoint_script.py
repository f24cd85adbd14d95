"""A flow that something happens to at a named point of a snapshot.

    python failpoint_script.py < SCENARIOS

reads a JSON list of scenarios and forks a child for each, which runs the flow and kills itself at
the point; prints for each whether it was killed. Forking from a process that has imported
everything makes a kill cost a few milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow
from aiocheckpoint.handlers._files.failpoints import armed

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = ("a", "b", "c")


@dataclass(frozen=True)
class Scenario:
    """Where something happens.

    Attributes:
        point: Name of the failpoint.
        number: At which snapshot of the run, from 1, the one before the first step.
        fsync: As for the flow.
        keep: As for the flow.
        method: "run" or "arun".
    """

    point: str
    number: int
    fsync: bool
    keep: Any
    method: str = "run"

    def __str__(self) -> str:
        """Name it for the test report."""
        how = "fsync" if self.fsync else "no-fsync"
        return f"{self.point}-{self.number}-{how}-keep {self.keep}-{self.method}"

    def encode(self, place: Path) -> dict[str, Any]:
        """Give it as JSON, with the place to run in."""
        return {**asdict(self), "place": str(place)}

    def flow(self, place: Path) -> CheckpointFlow:
        """Make its flow, whose steps leave a note outside of having been run."""
        cp = CheckpointFlow(place / "checkpoint.pkl", fsync=self.fsync, keep=self.keep)
        for name in STEPS:
            cp.add_step(name=name)(make_step(place, name))
        return cp

    def run(self, place: Path, action: Callable[[], object]) -> dict[str, Any]:
        """Run its flow, and do something where it says so."""
        reached = count(1)

        def act() -> None:
            if next(reached) == self.number:
                action()

        with armed(self.point, act):
            return self.go(place)

    def go(self, place: Path) -> dict[str, Any]:
        """Run its flow."""
        cp = self.flow(place)
        return cp.run({}) if self.method == "run" else asyncio.run(cp.arun({}))


def make_step(place: Path, name: str) -> Callable[[dict[str, Any]], None]:
    """Make a step that leaves a note beside the place."""

    def step(state: dict[str, Any]) -> None:
        with (place.parent / f"{place.name} effects").open("a", encoding="ascii") as file:
            file.write(name)
        state.setdefault("trail", []).append(name)

    return step


def effects_at(place: Path) -> str:
    """Give the names of the steps that were run, one after another."""
    file = place.parent / f"{place.name} effects"
    return file.read_text(encoding="ascii") if file.exists() else ""


def die() -> None:
    """Be killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill(encoded: dict[str, Any]) -> bool:
    """Fork a child that is killed in a scenario, and tell whether it was."""
    child = os.fork()
    if child == 0:
        place = Path(encoded.pop("place"))
        Scenario(**encoded).run(place, die)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


if __name__ == "__main__":
    print(json.dumps([kill(one) for one in json.load(sys.stdin)]))  # noqa: T201
