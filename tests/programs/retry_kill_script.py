"""Kills runs that are retried and paused, at random moments, until each has come to its end.

    python retry_kill_script.py DIRECTORY file|sqlite run|arun SEED CHAINS

Each life of a chain is a forked child. The next step checks the state that a step has changed.
The output is JSON: for each chain the final state, the reported numbers of the attempts in order,
and how many lives were killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow, Pause, Retry, current_step

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 0.03
MOST_LIVES = 300
OFTEN = Retry(attempts=1000, wait_initial=0.001, wait_max=0.002, wait_jitter=0.001)


def make_flow(place: Path, kind: str, report: Callable[[int], object]) -> CheckpointFlow:
    """Make a flow of steps that fail by chance, wait for approval, and keep their data."""
    name = "runs.db" if kind == "sqlite" else "checkpoint.pkl"
    cp = CheckpointFlow(place / name, kind.replace("file", "local"), keep_data=True, keep=3)

    @cp.add_step(lambda state: {"rows": state["rows"]}, retry=OFTEN)
    def flaky(state: dict[str, Any], data: dict[str, Any]) -> None:
        report(current_step().attempt)
        data["rows"].append(1)
        state["count"] += len(data["rows"])
        if random.random() < 0.6:  # noqa: S311 - no secret
            raise ConnectionError

    @cp.add_step(retry=OFTEN)
    async def wait(state: dict[str, Any], data: dict[str, Any]) -> None:
        data["rows"].append(2)
        if random.random() < 0.4:  # noqa: S311 - no secret
            raise ConnectionError
        if "approved" not in state:
            raise Pause("waiting")

    @cp.add_step()
    def use(state: dict[str, Any], data: dict[str, Any]) -> None:
        state["same"] = data["rows"] is state["rows"]

    return cp


def live(place: Path, kind: str, method: str, report: Callable[[int], object]) -> None:
    """Resume the run, to its end if there is time, and approve it when it waits."""
    random.seed()
    cp = make_flow(place, kind, report)
    header = cp.header()
    paused = header is not None and header.status == "paused"
    update = {"approved": True} if paused else None
    state = {"rows": [0], "count": 0} if header is None else None
    if method == "run":
        cp.run(state, update=update)
    else:
        asyncio.run(cp.arun(state, update=update))


def fork_life(place: Path, kind: str, method: str, seconds: float) -> tuple[bool, list[int]]:
    """Let a child live for so long; return whether it was killed, and its reports."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        live(place, kind, method, lambda number: os.write(writer, f"{number} ".encode()))
        os._exit(0)
    os.close(writer)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader, encoding="ascii") as reported:
        return os.WIFSIGNALED(status), [*map(int, reported.read().split())]


def fork_chain(place: Path, kind: str, method: str, rng: random.Random) -> dict[str, Any]:
    """Let lives follow one another until the run is finished."""
    place.mkdir()
    cp, reported, killed = make_flow(place, kind, print), list[int](), 0
    longest, stored = LONGEST, 0
    for _ in range(MOST_LIVES):
        died, more = fork_life(place, kind, method, rng.uniform(0, longest))
        reported += more
        killed += died
        header = cp.handler.header()
        if header is not None and header.finished:
            break
        # A life that stored nothing gives the next one more time, so that a busy machine ends too.
        before, stored = stored, 0 if header is None else header.sequence
        longest = max(LONGEST, longest / 2) if stored > before else longest * 1.1
    return {"state": cp.handler.read(), "told": reported, "killed": killed}


def main(place: Path, kind: str, method: str, seed: int, chains: int) -> None:
    """Let so many chains live and die."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    found = [fork_chain(place / str(number), kind, method, rng) for number in range(chains)]
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
