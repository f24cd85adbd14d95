"""Executes one run of so many steps, through a method: PLACE METHOD STEPS [no-fsync]."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aiocheckpoint import CheckpointFlow
from aiocheckpoint.handlers._files import marks
from aiocheckpoint.handlers.sqlite import _session


def main(place: str, method: str, steps: int, *, fsync: bool) -> None:
    """Execute the run."""
    # Some looks at the files depend on the time since another. A busy machine would make more.
    _session._SECONDS_BETWEEN_CHECKS = 3600.0  # noqa: SLF001
    marks.SETTLED_NANOSECONDS = 0
    cp = CheckpointFlow(place, fsync=fsync)
    for number in range(steps):

        @cp.add_step(name=f"step {number}")
        async def count(state: dict[str, Any]) -> None:
            state["n"] += 1

    if method == "run":
        cp.run({"n": 0}, run_id="x")
    else:
        asyncio.run(cp.arun({"n": 0}, run_id="x"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), fsync="no-fsync" not in sys.argv)
