"""Memory that runs hold while they wait inside a step."""

from __future__ import annotations

import asyncio
import gc
import itertools
import tracemalloc
from typing import TYPE_CHECKING, Any, TypeAlias

from workloads.shapes import small_state

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Latch", "WaitingRun", "kibibytes_held"]

WaitingRun: TypeAlias = "Callable[[str, dict[str, Any]], Coroutine[Any, Any, object]]"
"""Does the run of an id with a state."""

_NUMBERS = itertools.count()
"""Numbers of runs. Each needs a new id, as a known run also holds its stored state."""


class Latch:
    """Makes tasks wait until it is opened, and reports the arrival of the last one.

    Args:
        expected: How many tasks arrive.

    Attributes:
        all_arrived: Set when all tasks have arrived.
        opened: Set by the caller to open the latch.
    """

    def __init__(self, expected: int) -> None:
        self._missing = expected
        self.all_arrived = asyncio.Event()
        self.opened = asyncio.Event()

    async def wait(self) -> None:
        """Wait until the latch is opened."""
        self._missing -= 1
        if not self._missing:
            self.all_arrived.set()
        await self.opened.wait()


async def kibibytes_held(runs: int, make: Callable[[Latch], WaitingRun]) -> float:
    """Give the memory of one of many waiting runs, without its initial state.

    Allocations of Python count, in all threads. Memory of SQLite or the kernel does not.

    Args:
        runs: How many wait at once.
        make: Makes the function that does such a run, from the latch to wait at.
    """
    latch = Latch(runs)
    run = make(latch)
    states = {f"order-{next(_NUMBERS)}": small_state() for _ in range(runs)}
    gc.collect()
    tracemalloc.start()  # The initial states are not counted.
    try:
        async with asyncio.TaskGroup() as group:
            for run_id, state in states.items():
                group.create_task(run(run_id, state))
            await latch.all_arrived.wait()
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
            latch.opened.set()
    finally:
        tracemalloc.stop()
    return held / runs / 1024
