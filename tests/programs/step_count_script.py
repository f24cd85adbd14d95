"""Executes one run of so many steps, through a method: PLACE METHOD STEPS [no-fsync]."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from aiocheckpoint import CheckpointFlow


def main(place: str, method: str, steps: int, *, fsync: bool) -> None:
    """Execute the run."""
    cp = CheckpointFlow(place, fsync=fsync)
    for number in range(steps):

        @cp.add_step(name=f"step {number}")
        async def count(state: dict[str, Any]) -> None:
            if not state["n"]:
                time.sleep(0.15)  # The directory has not changed for long. # noqa: ASYNC251
            state["n"] += 1

    if method == "run":
        cp.run({"n": 0}, run_id="x")
    else:
        asyncio.run(cp.arun({"n": 0}, run_id="x"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), fsync="no-fsync" not in sys.argv)
