"""Counts the beats of an event loop while snapshots are on their way to a slow disk.

    python slow_disk_script.py DIRECTORY arun|awrite|aread|write

Printed is JSON: how often a task of 5 ms came to its turn in each snapshot, or reading of one.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow, LocalStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable


class LoopMonitor:
    """Beats as long as the loop is not stalled."""

    def __init__(self) -> None:
        self.beats = 0

    async def beat(self) -> None:
        """Beat for ever."""
        while True:
            await asyncio.sleep(0.005)
            self.beats += 1


async def run(path: Path, monitor: LoopMonitor) -> list[int]:
    """Run a flow of three steps; count between the end of each and the begin of the next."""
    marks = list[int]()

    async def step(state: dict[str, Any]) -> None:
        marks.append(monitor.beats)

    cp = CheckpointFlow(path)
    for name in "abc":
        cp.add_step(name=name)(step)
    await cp.arun({})
    marks.append(monitor.beats)
    return [after - before for before, after in itertools.pairwise(marks)]


async def write(path: Path, monitor: LoopMonitor) -> list[int]:
    """Store a state without blocking the loop."""
    before = monitor.beats
    await LocalStateHandler(path).awrite({"n": 1})
    return [monitor.beats - before]


async def read(path: Path, monitor: LoopMonitor) -> list[int]:
    """Read a state without blocking the loop."""
    before = monitor.beats
    await LocalStateHandler(path).aread()
    return [monitor.beats - before]


async def block(path: Path, monitor: LoopMonitor) -> list[int]:
    """Store a state on the loop itself, as nobody should."""
    before = monitor.beats
    LocalStateHandler(path).write({"n": 1})
    return [monitor.beats - before]


WORK: dict[str, Callable[[Path, LoopMonitor], Any]] = {
    "arun": run,
    "awrite": write,
    "aread": read,
    "write": block,
}


async def main(path: Path, word: str) -> None:
    """Do the work while the pulse beats, and print the beats."""
    monitor = LoopMonitor()
    beating = asyncio.create_task(monitor.beat())
    await asyncio.sleep(0.05)
    print(json.dumps(await WORK[word](path, monitor)))  # noqa: T201
    beating.cancel()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) / "checkpoint.pkl", sys.argv[2]))
