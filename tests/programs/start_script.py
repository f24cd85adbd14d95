"""Takes a run of a place on, and waits in its step "b" to be killed, or to be told what to do.

Arguments: the place, the run id, "killed", "failed" or "drained".
"""

from __future__ import annotations

import asyncio
import sys

from aiocheckpoint import CheckpointFlow

place, run_id, end = sys.argv[1:]
cp = CheckpointFlow(place, name="f")
entered = asyncio.Event()


def tell(word: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


@cp.add_step()
async def a(state: dict[str, object]) -> None:
    """Do nothing."""


@cp.add_step()
async def b(state: dict[str, object]) -> None:
    """Wait, or break."""
    if end == "failed":
        raise ConnectionError
    tell("in b")
    entered.set()
    await asyncio.sleep(60)


async def main() -> None:
    """Run until b, and begin to drain there if that is asked for."""
    run = asyncio.create_task(cp.arun({}, run_id=run_id))
    if end == "drained":
        await entered.wait()
        drain = asyncio.create_task(cp.adrain())
        await asyncio.sleep(0.3)  # The note is durable by then.
        tell("drains")
        await drain
    await run


asyncio.run(main())
