"""What the workers of all rivals share: many runs at once, timed, for each line of input.

Run by the rival's own interpreter, with the path of the database, the number of steps of a run and
the state as JSON. The first line of output tells the versions, and what the rival promises. Each
line of input is a number of runs to do at once, and is answered with the steps done in a second.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, Protocol

SYNCHRONOUS = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}


class Rival(Protocol):
    """A library, ready to run."""

    async def run(self, run_id: str, state: dict[str, Any]) -> int:
        """Do one whole run with all its steps, and give the count that the state has then."""
        ...

    async def pragma(self, name: str) -> object:
        """Ask the connection that the library writes through."""
        ...


async def serve(rival: Rival, packages: Iterable[str], steps: int, state: dict[str, Any]) -> None:
    """Answer line by line until the input ends."""
    done = await rival.run("the first of all", dict(state))
    assert done == steps
    greeting = {name: version(name) for name in packages}
    greeting["pragmas"] = await _pragmas(rival)
    print(json.dumps(greeting), flush=True)
    number = 0
    while line := await asyncio.to_thread(sys.stdin.readline):
        number += 1
        seconds = await _seconds(rival, [f"order-{number}-{n}" for n in range(int(line))], state)
        print(int(line) * steps / seconds, flush=True)


async def _seconds(rival: Rival, run_ids: list[str], state: dict[str, Any]) -> float:
    begun = time.perf_counter()
    counts = await asyncio.gather(*(rival.run(run_id, dict(state)) for run_id in run_ids))
    taken = time.perf_counter() - begun
    assert len(set(counts)) == 1
    return taken


async def _pragmas(rival: Rival) -> str:
    journal, synchronous = await rival.pragma("journal_mode"), await rival.pragma("synchronous")
    assert isinstance(synchronous, int)
    return f"journal_mode={journal}, synchronous={SYNCHRONOUS[synchronous]}"


def arguments() -> tuple[str, int, dict[str, Any]]:
    """Give the path of the database, the number of steps and the state."""
    path, steps, state = sys.argv[1:]
    return path, int(steps), json.loads(state)
