"""Asks for all of many runs at once, in an order of its own: `overlapping_script.py URL LOG RUNS`.

It prints "ready" once it is connected, and begins after a line of its input. It resumes what was
queued as a worker does, and asks for each run. Then it prints "done". LOG is as that of
killed_workers_script.py.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from killed_workers_script import (
    PATIENCE,
    first_state,
    last_state,
    make_flow,
    open_log,
    run_id,
)
from owner_script import say

if TYPE_CHECKING:
    from aiocheckpoint import CheckpointFlow


async def work(cp: CheckpointFlow) -> None:
    """Do what is queued and due."""
    async for result in cp.awork(limit=500, until_empty=True):
        assert result.error is None, result.error


async def ask(cp: CheckpointFlow, number: int) -> None:
    """Ask for one run."""
    state = await cp.arun(first_state(number), run_id=run_id(number), once=True, wait=PATIENCE)
    assert state == last_state(number)


async def main(url: str, log: Path, runs: int) -> None:
    """Ask for all runs."""
    write, numbers = open_log(log), list(range(runs))
    random.shuffle(numbers)
    async with make_flow(url, lambda *words: write(f"{' '.join(words)} {os.getpid()}")) as cp:
        await cp.aruns(limit=1)
        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.gather(work(cp), *(ask(cp, number) for number in numbers))
    say("done")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
