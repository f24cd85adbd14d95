"""A process that works off a queue whenever it is told to, and says how many runs it did.

    python -m workloads.queue_worker PLACE STEPS AT_ONCE

For each line on its standard input it works until the queue is empty.
"""

from __future__ import annotations

import asyncio
import sys

from workloads.flows import counting_flow

__all__: list[str] = []


async def _work_off(place: str, steps: int, at_once: int) -> None:
    flow, loop = counting_flow(place, steps), asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        done = 0
        async for result in flow.awork(limit=at_once, until_empty=True):
            assert result.error is None, result
            done += 1
        print(done, flush=True)
    flow.handler.close()


if __name__ == "__main__":
    asyncio.run(_work_off(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
