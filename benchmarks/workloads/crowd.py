"""Many runs at once on one event loop: their rate, and the stalls of the loop."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["PROBE", "Crowd", "Ticker", "affordable", "most_open_files"]

PROBE = 20
"""Runs done at once to learn a rate."""

NAP = 0.001

_NUMBERS = itertools.count(1)
"""Numbers of crowds, so that no two have the same run ids."""


class Crowd:
    """Does the same run many times at once, under new ids each time it is sampled.

    Args:
        runner: Has the loop.
        runs: How many runs there are at once.
        steps: How many steps each has.
        run: Does the run of an id.
        times: How many crowds a sample has, one after the other, if they are small.

    Attributes:
        runs: How many runs there are at once.
        stalls: For each sample the longest stall, in milliseconds.
    """

    def __init__(
        self,
        runner: asyncio.Runner,
        runs: int,
        steps: int,
        run: Callable[[str], Awaitable[object]],
        times: int = 1,
    ) -> None:
        self._runner = runner
        self.runs = runs
        self._steps = steps
        self._run = run
        self._times = times
        self.stalls: list[float] = []

    def sample(self) -> float:
        """Do all runs, and give how many steps there were in a second."""
        crowds = [self._crowd() for _ in range(self._times)]
        self.stalls.append(max(stall for _, stall in crowds))
        taken = sum(taken for taken, _ in crowds)
        return self.runs * self._steps * self._times / taken

    def _crowd(self) -> tuple[float, float]:
        number = next(_NUMBERS)
        run_ids = [f"order-{number}-{run}" for run in range(self.runs)]
        return self._runner.run(self._together(run_ids))

    async def _together(self, run_ids: list[str]) -> tuple[float, float]:
        async with Ticker() as ticker:
            begun = time.perf_counter()
            await asyncio.gather(*(self._run(run_id) for run_id in run_ids))
            taken = time.perf_counter() - begun
        return taken, ticker.worst


class Ticker:
    """A task that sleeps for a millisecond, again and again, as long as a `with` block lasts.

    Attributes:
        worst: The longest delay of a wake-up, in milliseconds.
    """

    def __init__(self) -> None:
        self.worst = 0.0
        self._over = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(2 * NAP)  # The first tick comes before the work.
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._over = True
        await self._task  # It wakes once more, which measures the time since its last wake-up.

    async def _tick(self) -> None:
        woken = time.perf_counter()
        while not self._over:
            await asyncio.sleep(NAP)
            now = time.perf_counter()
            self.worst = max(self.worst, (now - woken - NAP) * 1e3)
            woken = now


def affordable(runs: int, rate: float, steps: int, seconds: float) -> int:
    """Give how many of these runs can be done in so many seconds, at a rate of steps a second."""
    return min(runs, max(1, int(rate * seconds / steps)))


def most_open_files() -> int:
    """Give how many runs on files fit into the limit of open files: each keeps its lock open."""
    if sys.platform == "win32":
        return 1000
    import resource  # noqa: PLC0415 - there is none on Windows

    return max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100)
