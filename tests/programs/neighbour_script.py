"""A process beside another release on one store, of this release or of 0.5.0, as it is imported.

    python neighbour_script.py PLACE recover            resumes what its recovery takes
    python neighbour_script.py PLACE run RUN [break]    runs one run by hand, perhaps into a failure
    python neighbour_script.py PLACE run RUN kill       is killed in its first step

It writes JSON: the runs that it lists before, the states of those that it ran, by id, and the runs
that it lists afterwards.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from aiocheckpoint import CheckpointFlow

__all__ = ["neighbour_flow"]


def neighbour_flow(place: str, *, breaks: bool = False, kills: bool = False) -> CheckpointFlow:
    """Make the flow, whose steps note themselves.

    Args:
        place: Where it stores its runs.
        breaks: Whether it breaks in its second step.
        kills: Whether its first step kills the process.
    """
    cp = CheckpointFlow(place, name="neighbours", fsync=False)

    @cp.add_step()
    def one(state: dict[str, Any]) -> None:
        state.setdefault("trail", []).append("one")
        if kills:
            os.kill(os.getpid(), signal.SIGKILL)

    @cp.add_step()
    async def two(state: dict[str, Any]) -> None:
        if breaks:
            raise ConnectionError("broken")
        state["trail"].append("two")

    return cp


async def main(place: str, command: str, run_id: str = "", *more: str) -> None:
    """Do what the command says."""
    cp = neighbour_flow(place, breaks="break" in more, kills="kill" in more)
    before = listed(cp)
    states: dict[str, Any] = {}
    if command == "recover":
        async for result in cp.aresume_all():
            states[str(result.run_id)] = result.state
    else:
        try:
            states[run_id] = await cp.arun(run_id=run_id)
        except ConnectionError:
            states[run_id] = None
    json.dump({"before": before, "states": states, "after": listed(cp)}, sys.stdout)


def listed(cp: CheckpointFlow) -> dict[str, list[Any]]:
    """List the runs: status, position and failure of each."""
    return {
        str(one.run_id): [one.status, one.position, one.failure is not None] for one in cp.runs()
    }


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
