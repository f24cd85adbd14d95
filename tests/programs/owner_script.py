"""A program that owns runs in a database: `owner_script.py PATH LEASE [RUN ...]`.

It starts the runs, prints "held" when each is in its second step, and releases them after a line
of its input. Then it prints how each ended: "done" or the name of its error.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aiocheckpoint import CheckpointFlow

STEPS = ("a", "b", "c")


def make_flow(
    path: str, lease: float, held: asyncio.Barrier, free: asyncio.Event
) -> CheckpointFlow:
    """Make a flow of steps, the second of which is held."""
    cp = CheckpointFlow(path, "sqlite", lease=lease)
    for name in STEPS:

        async def step(state: dict[str, Any], name: str = name) -> None:
            if name == "b":
                await held.wait()
                await free.wait()
            state["trail"] = [*state["trail"], f"{name} of the owner"]

        cp.add_step(name=name)(lambda state, step=step: step(state))
    return cp


async def main(path: str, lease: str, *runs: str) -> None:
    """Own the runs."""
    held, free = asyncio.Barrier(len(runs) + 1), asyncio.Event()
    cp = make_flow(path, float(lease), held, free)
    tasks = [asyncio.create_task(cp.arun({"trail": []}, run_id=run)) for run in runs]
    await held.wait()
    say("held")
    await asyncio.to_thread(sys.stdin.readline)
    free.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    say(*("done" if isinstance(end, dict) else type(end).__name__ for end in ends))


def say(*words: str) -> None:
    """Print a line at once."""
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
