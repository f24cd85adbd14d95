"""Processes of a service that take its runs on.

Usage: recovery_script.py HOW PATH AHEAD, where HOW is "pass", "work", "hold" or "drain", and AHEAD
is for how many seconds the clock of the process is ahead.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from aiocheckpoint import CheckpointFlow, DrainingError

IDS = [f"order-{number}" for number in range(8)]
LEASE = 1.0


class Held:
    """Holds all runs in their first step.

    Attributes:
        begun: Is passed when all are in it, and the process knows.
        free: Lets them go on.
    """

    def __init__(self) -> None:
        self.begun = asyncio.Barrier(len(IDS) + 1)
        self.free = asyncio.Event()


def make_flow(path: str, held: Held | None = None, *, lease: float = 30.0) -> CheckpointFlow:
    """Make a flow of two steps. The first one says that it runs, and waits or fails."""
    cp = CheckpointFlow(path, "sqlite", fsync=False, lease=lease)

    def note(who: str) -> None:
        with Path(f"{path}-calls").open("a", encoding="ascii") as calls:
            calls.write(f"{who} {os.getpid()}\n")

    @cp.add_step()
    async def first(state: dict[str, Any]) -> None:
        note(state["who"])
        if state.get("fails"):
            await asyncio.sleep(0.001)
            raise ValueError("a bad document")
        if held is not None:
            await held.begun.wait()
            await held.free.wait()

    cp.add_step(name="second", thread=False)(lambda state: None)
    return cp


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def one_pass(path: str) -> None:
    """Wait for a line, and resume what is due."""
    cp = make_flow(path)
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    async for result in cp.aresume_all(limit=20):
        say(f"{result.run_id} {result.status}")


async def work(path: str) -> None:
    """Work until a signal says to drain."""
    cp, told = make_flow(path), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    say("ready")

    async def results() -> None:
        async for result in cp.awork():
            say(f"{result.run_id} {result.status}")

    worker = asyncio.create_task(results())
    await told.wait()
    await cp.adrain()
    await worker
    say("ended")


async def drain(path: str) -> None:
    """Run some runs, and drain at a signal, while all of them are in their first step."""
    told, held = asyncio.Event(), Held()
    cp = make_flow(path, held)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)

    async def order(run_id: str) -> None:
        try:
            await cp.arun({"who": run_id}, run_id=run_id)
        except DrainingError:
            say(f"{run_id} drained")

    async with asyncio.TaskGroup() as group:
        for run_id in IDS:
            group.create_task(order(run_id))
        await held.begun.wait()
        say("ready")
        await told.wait()
        asyncio.get_running_loop().call_later(0.1, held.free.set)
        await cp.adrain()


async def hold(path: str) -> None:
    """Run some runs that do not end."""
    held = Held()
    cp = make_flow(path, held, lease=LEASE)
    async with asyncio.TaskGroup() as group:
        for run_id in IDS:
            group.create_task(cp.arun({"who": run_id}, run_id=run_id))
        await held.begun.wait()
        say("ready")


WAYS = {"pass": one_pass, "work": work, "drain": drain, "hold": hold}

if __name__ == "__main__":
    how, place, ahead = sys.argv[1:]
    now = time.time
    time.time = lambda: now() + float(ahead)
    asyncio.run(WAYS[how](place))
