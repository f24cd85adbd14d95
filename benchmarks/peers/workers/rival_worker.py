"""Shared code of the workers of all rivals: many runs at once, timed, for each line of input.

A worker is run by the rival's own interpreter. Its last arguments are the path of the database, the
number of steps of a run and the state as JSON. The first line of output has the versions, and the
pragmas of the rival's own connection to its database if this process has one. A line of input is a
number of runs to do at once, and the answer is the steps per second. To the line "between" the
answer is the microseconds from one step to the next in the last run, as noted by the steps.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, Protocol, runtime_checkable

NOTES: list[float] = []
"""The time of each step of the last runs."""

SYNCHRONOUS = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}


class Rival(Protocol):
    """A library, ready to run."""

    async def run(self, run_id: str, state: dict[str, Any]) -> int:
        """Do one whole run with all its steps, and give the count that the state has then."""
        ...


@runtime_checkable
class Connected(Protocol):
    """A rival that writes through a connection of this process."""

    async def pragma(self, name: str) -> object:
        """Ask the connection that the library writes through."""
        ...


def note() -> None:
    """Note the time of a step."""
    NOTES.append(time.perf_counter())


async def serve(rival: Rival, packages: Iterable[str], steps: int, state: dict[str, Any]) -> None:
    """Answer line by line until the input ends."""
    done = await rival.run("the first of all", dict(state))
    assert done == steps
    greeting = {name: version(name) for name in packages}
    if isinstance(rival, Connected):
        greeting["pragmas"] = await _pragmas(rival)
    print(json.dumps(greeting), flush=True)
    number = 0
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip() == "between":
            print(_between(), flush=True)
            continue
        number += 1
        NOTES.clear()
        seconds = await _seconds(rival, [f"order-{number}-{n}" for n in range(int(line))], state)
        print(int(line) * steps / seconds, flush=True)


async def _seconds(rival: Rival, run_ids: list[str], state: dict[str, Any]) -> float:
    begun = time.perf_counter()
    counts = await asyncio.gather(*(rival.run(run_id, dict(state)) for run_id in run_ids))
    taken = time.perf_counter() - begun
    assert len(set(counts)) == 1
    return taken


def _between() -> float:
    return (NOTES[-1] - NOTES[0]) * 1e6 / (len(NOTES) - 1)


async def _pragmas(rival: Connected) -> str:
    journal, synchronous = await rival.pragma("journal_mode"), await rival.pragma("synchronous")
    assert isinstance(synchronous, int)
    return f"journal_mode={journal}, synchronous={SYNCHRONOUS[synchronous]}"


def keep_output() -> None:
    """Reserve standard output for answers. Child processes print to standard error."""
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)


def arguments() -> tuple[str, int, dict[str, Any]]:
    """Give the path of the database, the number of steps and the state."""
    path, steps, state = sys.argv[-3:]
    return path, int(steps), json.loads(state)
