"""Work off the runs of a database, one of which kills its process.

Usage: poison_script.py PATH SECONDS LIMIT
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from aiocheckpoint import CheckpointFlow

KILLS_AFTER = 0.1


def make_flow(path: str, seconds: float) -> CheckpointFlow:
    """Make the flow. Its step takes so many seconds, and less in the run that kills."""
    cp = CheckpointFlow(path, "sqlite", fsync=False)

    @cp.add_step()
    async def parse(state: dict[str, Any]) -> None:
        if state["poison"]:
            await asyncio.sleep(KILLS_AFTER)
            os.kill(os.getpid(), signal.SIGKILL)  # As the system does when memory runs out.
        await asyncio.sleep(seconds)

    cp.add_step(name="store", thread=False)(lambda state: state.update(stored=True))
    return cp


async def work(path: str, seconds: float, limit: int) -> None:
    """Work until nothing is left, and say what was done."""
    async for result in make_flow(path, seconds).awork(limit=limit, until_empty=True):
        sys.stdout.write(f"{result.run_id} {result.status}\n")


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
