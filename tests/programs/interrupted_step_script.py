"""Runs a sync step that waits for a line of its input, under `asyncio.run`: PLACE."""

# ruff: noqa: T201 - it prints for its test
from __future__ import annotations

import asyncio
import sys

from aiocheckpoint import CheckpointFlow

cp = CheckpointFlow(f"{sys.argv[1]}/c.pkl")


@cp.add_step()
def work(state: dict[str, int]) -> None:
    """Do an hour's work."""
    print("work", flush=True)
    sys.stdin.readline()
    state["work"] = 1


@cp.add_step()
async def report(state: dict[str, int]) -> None:
    """Be done."""
    state["report"] = 1


async def main() -> None:
    """Run, and say when the cancellation has come."""
    run = asyncio.ensure_future(cp.arun({}))
    try:
        await asyncio.shield(run)
    except asyncio.CancelledError:
        print("interrupted", flush=True)
        run.cancel()
        try:
            await run
        except asyncio.CancelledError:
            print("cancelled", flush=True)
        raise
    print(run.result())


asyncio.run(main())
