"""A service on a database: does its runs, waits for SIGTERM, and ends cleanly.

python tests/programs/file_alone_script.py PATH NAME RUNS
"""

from __future__ import annotations

import asyncio
import signal
import sys

from aiocheckpoint import CheckpointFlow


async def main() -> None:
    """Do the runs, once more at each SIGUSR1, until SIGTERM."""
    path, name, runs = sys.argv[1:]
    loop, ended, again = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGUSR1, again.set)
    cp = CheckpointFlow(path, "sqlite", name="orders")
    cp.add_step(name="a")(lambda state: None)
    prefix = name
    while True:
        await cp.amap({f"{prefix} {number}": {} for number in range(int(runs))})
        sys.stdout.write("done\n")
        sys.stdout.flush()
        waits = [asyncio.create_task(event.wait()) for event in (ended, again)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if ended.is_set():
            return
        again.clear()
        prefix += "+"


asyncio.run(main())
