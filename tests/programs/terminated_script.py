"""A program whose run is terminated from outside: `terminated_script.py STORE HOW FOLDER`.

HOW is "arun" or "run" with a coroutine that lasts, "sync" with a sync step that waits for the file
"free" in FOLDER, or "steps" with 300 steps of 20 ms. It makes the file "entered" in its second
step, with "sync" in its third, and writes out the error that ends the run.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from aiocheckpoint import CheckpointFlow, RunTerminatedError

STEPS = 300


def make_flow(store: str, how: str, folder: Path) -> CheckpointFlow:
    """Make the flow."""
    cp = CheckpointFlow(store, name="orders")

    @cp.add_step()
    def first(state: dict[str, Any]) -> None:
        state["trail"] = ["first"]

    @cp.add_step()
    async def lasts(state: dict[str, Any]) -> None:
        state["trail"].append("lasts")
        if how != "sync":
            (folder / "entered").touch()
        if how in {"arun", "run"}:
            await asyncio.sleep(600)

    @cp.add_step()
    def waits(state: dict[str, Any]) -> None:
        state["trail"].append("waits")
        if how == "sync":
            (folder / "entered").touch()
        while how == "sync" and not (folder / "free").exists():
            time.sleep(0.01)

    for number in range(STEPS):

        async def step(state: dict[str, Any]) -> None:
            await asyncio.sleep(0.02)
            state["steps"] = state.get("steps", 0) + 1

        cp.add_step(name=f"s{number}")(step)
    return cp


def main(store: str, how: str, folder: str) -> None:
    """Run it."""
    cp = make_flow(store, how, Path(folder))
    try:
        if how == "arun":
            asyncio.run(cp.arun({}, run_id="x"))
        else:
            cp.run({}, run_id="x")
    except RunTerminatedError as error:
        sys.stdout.write(f"{error.by} {error.reason}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
