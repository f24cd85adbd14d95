"""The steps of `engine_flow`. Each notes when it begins and ends, with its idempotency key."""

from __future__ import annotations

import asyncio
import os
import random
import time
from functools import partial
from typing import Any

from aiocheckpoint import CheckpointFlow, current_step

STEPS = ("a", "b", "c", "d", "e")
SYNC = {"b", "d"}


def run_id(number: int) -> str:
    """Give the id of a run."""
    return f"order-{number}"


def first_state(number: int) -> dict[str, Any]:
    """Give the state that a run is started with."""
    return {"number": number, "trail": []}


def last_state(number: int) -> dict[str, Any]:
    """Give the state of an undisturbed run at its end."""
    return {"number": number, "trail": [f"{name} {number}" for name in STEPS]}


def first_states(runs: int) -> dict[str, dict[str, Any]]:
    """Give the states that so many runs are started with, by their ids."""
    return {run_id(number): first_state(number) for number in range(runs)}


def note(word: str, run: str, step: str, key: str) -> None:
    """Write a line of the log in one piece."""
    line = f"{word} {run} {step} {key} {os.getpid()}\n".encode()
    descriptor = os.open(os.environ["ENGINE_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        assert os.write(descriptor, line) == len(line)
    finally:
        os.close(descriptor)


def duration() -> float:
    """Give the seconds that a step takes this time."""
    least, most = map(float, os.environ.get("ENGINE_SECONDS", "0.02 0.08").split())
    return random.uniform(least, most)  # noqa: S311 - no secret


def _work(name: str, state: dict[str, Any]) -> None:
    key = current_step().idempotency_key
    note("begin", run_id(state["number"]), name, key)
    state["trail"].append(f"{name} {state['number']}")
    time.sleep(duration())
    note("end", run_id(state["number"]), name, key)


async def _await(name: str, state: dict[str, Any]) -> None:
    key = current_step().idempotency_key
    note("begin", run_id(state["number"]), name, key)
    state["trail"].append(f"{name} {state['number']}")
    await asyncio.sleep(duration())
    note("end", run_id(state["number"]), name, key)


def make_flow(store: str, **options: Any) -> CheckpointFlow:  # noqa: ANN401 (passed on as is)
    """Make the flow in a store."""
    cp = CheckpointFlow(store, name="engine", **options)
    for step in STEPS:
        cp.add_step(name=step)(partial(_work if step in SYNC else _await, step))
    return cp
