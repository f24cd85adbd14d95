"""Runs a step whose saver fails once, with a long pause before it is called again: PLACE [fail]."""

# ruff: noqa: T201 - it prints for its test
from __future__ import annotations

import sys

from aiocheckpoint import CheckpointFlow, Retry, current_step
from aiocheckpoint.events import AttemptFailed

cp = CheckpointFlow(
    f"{sys.argv[1]}/c.pkl",
    hooks=[lambda event: isinstance(event, AttemptFailed) and print("failed", flush=True)],
)


def save(state: dict[str, int]) -> None:
    """Fail, if asked to."""
    print("save", current_step().attempt, flush=True)
    if "fail" in sys.argv:
        raise ConnectionError("not yet")


@cp.add_step(save=save, retry=Retry(wait_initial=600.0, wait_max=600.0))
def step(state: dict[str, int]) -> None:
    """Do an hour's work."""
    print("step", flush=True)
    state["work"] = 1


print(cp.run({} if "fail" in sys.argv else None))
