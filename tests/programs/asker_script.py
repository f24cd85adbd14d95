"""A program that resumes the runs of a database once: `asker_script.py PATH [RUN WAIT]`.

It prints how each run that it found without an owner ended: its id and "done". It also waits for a
run, and prints how that ended.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from owner_script import STEPS, say

from aiocheckpoint import CheckpointError, CheckpointFlow


def step(state: dict[str, Any]) -> None:
    """Leave a trace in the state."""
    state["trail"] = [*state["trail"], "the asker"]


async def main(path: str, run_id: str = "", wait: str = "") -> None:
    """Resume the runs."""
    cp = CheckpointFlow(path, "sqlite")
    for name in STEPS:
        cp.add_step(name=name)(step)
    async for result in cp.aresume_all():
        say(str(result.run_id), "done" if result.error is None else type(result.error).__name__)
    if run_id:
        try:
            await cp.arun(run_id=run_id, wait=float(wait))
        except CheckpointError as error:
            say(run_id, type(error).__name__)
        else:
            say(run_id, "done")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
