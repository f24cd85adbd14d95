"""Steps in a `ProcessPoolExecutor`, beside bare calls there and the same steps in this process."""

from __future__ import annotations

import time
from asyncio import wrap_future
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from measure.pairs import Contender, Goal, Pair

from aiocheckpoint import CheckpointFlow
from workloads.flows import database
from workloads.shapes import small_state

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator
    from concurrent.futures import Executor
    from pathlib import Path

__all__ = ["executor_pair"]


@contextmanager
def executor_pair(
    runner: asyncio.Runner, directory: Path, steps: int
) -> Generator[Pair, None, None]:
    """Give steps that are sent, beside bare calls and durable steps, to be measured in turns.

    The processes are spawned, and end with the block.

    Args:
        runner: Has the loop.
        directory: Where the databases are made.
        steps: How many steps a run has.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        sent = _flow(database(directory, "sent"), steps, executor)
        here = _flow(database(directory, "here"), steps, None)

        def both() -> float:
            return runner.run(_call_time(executor, steps)) + runner.run(_step_time(here))

        yield Pair(
            Contender("step through ProcessPoolExecutor", lambda: runner.run(_step_time(sent))),
            Contender("bare submit, and the durable step", both),
            "µs",
            Goal(1.3),
        )


def _flow(place: str, steps: int, executor: Executor | None) -> CheckpointFlow:
    flow = CheckpointFlow(place, name="counting")
    for number in range(steps):
        flow.add_step(name=f"step {number}", executor=executor)(add_one)
    return flow


async def _step_time(flow: CheckpointFlow) -> float:
    """Do a run, and give the microseconds of a step."""
    state = small_state()
    begun = time.perf_counter()
    await flow.arun(state, run_id="counting")
    taken = time.perf_counter() - begun
    steps: int = state["count"]
    return taken * 1e6 / steps


async def _call_time(executor: Executor, calls: int) -> float:
    """Submit the function of the steps as often, and give the microseconds of a call."""
    state = small_state()
    begun = time.perf_counter()
    for _ in range(calls):
        state = await wrap_future(executor.submit(_given_back, state))
    taken = time.perf_counter() - begun
    assert state["count"] == calls
    return taken * 1e6 / calls


def add_one(state: dict[str, Any]) -> None:
    """Count. Public, so that its name can be pickled by all."""
    state["count"] += 1


def _given_back(state: dict[str, Any]) -> dict[str, Any]:
    add_one(state)
    return state
