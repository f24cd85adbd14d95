"""A program whose sync step is slow or hangs: `hung_script.py WAY SECONDS`.

With "waits" the loop is left while the step runs, and the flow is not drained. With "left" the
same, but the flow is drained. With "cancelled" the flow is drained, and the end of the loop cancels
the run. With "late" the run is cancelled first. With "block" the loop is left by the cancellation
of an `async with` block. With "drain" the run is on the loop of another thread, and the main thread
drains the flow.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from contextlib import suppress
from typing import Any

from aiocheckpoint import CheckpointFlow, RunInProgressError
from aiocheckpoint._runs import draining


def say(line: str) -> None:
    """Print a line at once, in one piece."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(way: str, seconds: float, directory: str) -> None:
    """Begin a run, wait for its step, and leave it there."""
    begun = threading.Event()
    cp = CheckpointFlow(f"{directory}/c.pkl")

    @cp.add_step()
    def slow(state: dict[str, Any]) -> None:
        say("the step begins")
        begun.set()
        time.sleep(seconds)
        say("the step ends")

    if way == "drain":
        threading.Thread(target=asyncio.run, args=(cp.arun({}),), daemon=True).start()
        begun.wait()
        say(f"left: {cp.drain(timeout=0.05)}")
        return
    run = asyncio.create_task(cp.arun({}))
    await asyncio.to_thread(begun.wait)
    if way == "block":
        async with cp:
            say("left: [None]")
            raise asyncio.CancelledError
    if way == "late":
        run.cancel()
        await asyncio.sleep(0.05)
    if way != "waits":
        say(f"left: {await cp.adrain(timeout=0.05)}")
    if way == "late":
        await asyncio.wait([run])
        other = CheckpointFlow(f"{directory}/c.pkl")
        other.add_step(name="slow")(lambda state: None)
        try:
            await other.arun({})
        except RunInProgressError:
            say("the run is owned")


def run(way: str, seconds: float, directory: str) -> None:
    """Run the loop, and leave it without its own end where that would wait for the step."""
    if way in ("waits", "left"):
        asyncio.set_event_loop(loop := asyncio.new_event_loop())
        loop.run_until_complete(main(way, seconds, directory))
        KEPT.append(loop)
    else:
        with suppress(asyncio.CancelledError):
            asyncio.run(main(way, seconds, directory))


draining._SECONDS_IF_CANCELLED = 0.05  # noqa: SLF001
KEPT: list[asyncio.AbstractEventLoop] = []

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        run(sys.argv[1], float(sys.argv[2]), place)
        say("the program is over")
