"""A program that owns runs in a shared store: `shared_owner_script.py URL OPTIONS LOG [RUN ...]`.

OPTIONS are those of the flow, in JSON, and `clock`, seconds by which the wall clock of this process
is wrong. The program starts the runs, and prints "held" when each is in its second step. A line of
its input frees them. Then it prints how each ended: "done" or the name of its error.

LOG gets a line for each step that begins, ends, or is acknowledged: the word, the run, the step,
and the id of this process.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from killed_workers_script import Acknowledged, open_log
from owner_script import STEPS, say

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Callable


def make_flow(
    url: str,
    options: dict[str, Any],
    note: Callable[[str, str, str], None],
    held: asyncio.Barrier,
    free: asyncio.Event,
) -> CheckpointFlow:
    """Make a flow of steps that note themselves, the second of which is held."""
    cp = CheckpointFlow(url, name="owned", hooks=[Acknowledged(note)], **options)
    for name in STEPS:

        async def step(state: dict[str, Any], name: str = name) -> None:
            note("begin", state["id"], name)
            if name == "b":
                await held.wait()
                await free.wait()
            state["trail"] = [*state["trail"], f"{name} of the owner"]
            note("end", state["id"], name)

        cp.add_step(name=name)(lambda state, step=step: step(state))
    return cp


async def main(url: str, options: dict[str, Any], log: Path, runs: list[str]) -> None:
    """Own the runs."""
    held, free, write = asyncio.Barrier(len(runs) + 1), asyncio.Event(), open_log(log)
    process = os.getpid()
    cp = make_flow(url, options, lambda *words: write(f"{' '.join(words)} {process}"), held, free)
    states = {run: {"id": run, "trail": list[str]()} for run in runs}
    tasks = [asyncio.create_task(cp.arun(state, run_id=run)) for run, state in states.items()]
    await held.wait()
    say("held")
    await asyncio.to_thread(sys.stdin.readline)
    free.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    say(*("done" if isinstance(end, dict) else type(end).__name__ for end in ends))


def shift_wall_clock(seconds: float) -> None:
    """Let the wall clock of this process be wrong by so many seconds."""
    right = time.time
    time.time = lambda: right() + seconds


if __name__ == "__main__":
    place, given, file, *ids = sys.argv[1:]
    chosen: dict[str, Any] = json.loads(given)
    shift_wall_clock(chosen.pop("clock", 0.0))
    asyncio.run(main(place, chosen, Path(file), ids))
