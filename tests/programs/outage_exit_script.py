"""A process that ends while its store is out of reach: its way is the first argument."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

from memory_store import MemoryHandler, MemoryServer

from aiocheckpoint import CheckpointFlow

server = MemoryServer()
cp = CheckpointFlow("memory", handler=MemoryHandler(server, patience=600))
stopped = threading.Event()


@cp.add_step()
def first(state: dict[str, Any]) -> None:
    """Stop the server."""
    server.stop()
    stopped.set()


async def cancelled() -> None:
    """Cancel a run, or leave it to the end of the loop."""
    task = asyncio.create_task(cp.arun({}, run_id="a"))
    await asyncio.to_thread(stopped.wait)
    await asyncio.sleep(0.2)
    if sys.argv[1] == "cancel":
        task.cancel()
        await asyncio.wait([task])
    if sys.argv[1] == "list":
        asyncio.create_task(cp.aruns())  # noqa: RUF006 - it is left on purpose
        await asyncio.sleep(0.2)


def in_a_thread() -> None:
    """Leave a run in a daemon thread."""
    threading.Thread(target=cp.run, args=({},), kwargs={"run_id": "a"}, daemon=True).start()
    stopped.wait()


if sys.argv[1] == "thread":
    in_a_thread()
else:
    asyncio.run(cancelled())
sys.stdout.write("the program is over\n")
sys.stdout.flush()
