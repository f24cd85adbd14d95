"""Starts or resumes keyed runs in one place, to be killed in the middle of it.

Called as `python resume_script.py start PLACE HANDLER IDS...`, it starts a run for each id and
prints "held" when all of them wait in their first step. With `resume` in place of `start`, it
resumes all and prints the outcomes as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aiocheckpoint import CheckpointFlow, RunResult, current_step

State = dict[str, Any]


def make_flow(place: str, handler: str) -> CheckpointFlow:
    """Make the flow: `ask` notes its key and attempts, and `report` notes its key."""
    cp = CheckpointFlow(place, handler=handler)

    @cp.add_step()
    async def ask(state: State) -> None:
        step = current_step()
        state["key"] = step.idempotency_key
        state["attempts"] = [*state.get("attempts", []), step.attempt]
        if state.get("breaks") and step.attempt == 1:
            raise ValueError(state["who"])

    @cp.add_step()
    async def report(state: State) -> None:
        state["told"] = current_step().idempotency_key

    return cp


def hold_all(cp: CheckpointFlow, ids: list[str]) -> None:
    """Add a first step that reports when every run is in it, and holds the runs."""

    async def hold(state: State) -> None:
        state["half"] = "done"
        await meet.wait()
        sys.stdout.write("held\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().create_future()

    async def start_all() -> None:
        await asyncio.gather(*(cp.arun({"who": one}, run_id=one) for one in ids))

    meet = asyncio.Barrier(len(ids))
    cp.add_step(name="ask", replace=True)(hold)
    asyncio.run(start_all())


def described(result: RunResult) -> list[Any]:
    """Give a result as JSON can have it."""
    error = None if result.error is None else repr(result.error)
    return [result.run_id, result.state, error]


async def resume_all(cp: CheckpointFlow) -> list[Any]:
    """Resume all unfinished runs, as a service does when it starts."""
    chosen = cp.aresume_all(status=("running", "failed"))  # whether due or not
    return [described(result) async for result in chosen]


def main(how: str, place: str, handler: str, *ids: str) -> None:
    """Carry out the command line."""
    cp = make_flow(place, handler)
    if how == "start":
        hold_all(cp, list(ids))
    else:
        sys.stdout.write(json.dumps(asyncio.run(resume_all(cp))))


if __name__ == "__main__":
    main(*sys.argv[1:])
