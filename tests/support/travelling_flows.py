"""Flows that are sent to other processes: one is a global of this module."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow, current_step

if TYPE_CHECKING:
    from pathlib import Path

STORE = "TRAVELLING_STORE"
"""The variable of the environment with the path or URL of the store of `cp`."""
KEY = b"k" * 32
State = dict[str, Any]

cp = CheckpointFlow(os.environ.get(STORE, "travelling/"), name="travelling", fsync=False)
signed = CheckpointFlow("travelling/", name="signed", secret=KEY)


@cp.add_step()
def first(state: State) -> None:
    """Note the key of the step, and the process."""
    note(state)


@cp.add_step()
async def second(state: State) -> None:
    """Note the same in a coroutine."""
    note(state)


def note(state: State) -> None:
    """Note the key of the current step, and the process that it is in."""
    state.setdefault("keys", []).append(current_step().idempotency_key)
    state["pid"] = os.getpid()


def find_secret() -> bytes:
    """Find a secret, as a program finds it in its environment."""
    return KEY


def local_flow(place: str | Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401 - as the class
    """Make a flow that no module has, whose steps plain pickle finds."""
    made = CheckpointFlow(place, name="travelling", **options)
    made.add_step(name="first")(note)
    made.add_step(name="second")(note)
    return made


def closure_flow(place: str | Path, **options: Any) -> CheckpointFlow:  # noqa: ANN401 - as the class
    """Make a flow whose step is a closure, which only pickles by value hold."""
    made = CheckpointFlow(place, name="travelling", **options)
    factor = 2

    @made.add_step(name="first")
    def closure(state: State) -> None:
        note(state)
        state["n"] = state.get("n", 0) * factor

    return made


def run_there(flow: CheckpointFlow, run_id: str) -> State:
    """Run a flow. Called in another process."""
    return flow.run({"n": 21}, run_id=run_id)


def run_the_global(run_id: str) -> State:
    """Run the flow of this module."""
    return cp.run({"n": 21}, run_id=run_id)
