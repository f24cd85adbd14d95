"""A program that resumes the runs of a database once: `asker_script.py PATH`.

It prints how each run that it found without an owner ended: its id and "done".
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from owner_script import STEPS, say

from aiocheckpoint import CheckpointFlow


def step(state: dict[str, Any]) -> None:
    """Leave a trace in the state."""
    state["trail"] = [*state["trail"], "the asker"]


async def main(path: str) -> None:
    """Resume the runs."""
    cp = CheckpointFlow(path, "sqlite")
    for name in STEPS:
        cp.add_step(name=name)(step)
    async for result in cp.aresume_all():
        say(str(result.run_id), "done" if result.error is None else type(result.error).__name__)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
