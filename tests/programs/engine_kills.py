"""Kills of workers that execute runs of `engine_flow`, spread over the work."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from engine_steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE = 100.0
_LINE = len("begin order-100 a  12345\n") + 64


def await_true(holds: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "nothing goes on any more"
        time.sleep(0.01)


def share_done(log: Path, count: int) -> float:
    """Give the share of all steps of so many runs that is done, by the size of the log."""
    return log.stat().st_size / (2 * _LINE * len(STEPS) * count) if log.exists() else 0.0


def kill_at_random(log: Path, count: int, kills: int, of: int, kill: Callable[[int], None]) -> None:
    """Kill workers at random moments, spread over the work.

    Args:
        log: The log of the steps.
        count: The number of runs.
        kills: How many times.
        of: The number of workers, which are killed in turn.
        kill: Kills the worker of a number.
    """
    seed = random.SystemRandom().randrange(1 << 32)
    rng = random.Random(seed)  # noqa: S311 - no secret
    try:
        for number in range(kills):
            share = 0.8 * (number + rng.random()) / kills
            await_true(lambda share=share: share_done(log, count) >= share)  # type: ignore[misc]
            time.sleep(rng.random() * 0.05)
            kill(number % of)
    except BaseException as error:
        error.add_note(f"the seed of the kills: {seed}")
        raise
