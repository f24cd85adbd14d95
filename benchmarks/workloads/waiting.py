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

__all__ = ["Gate", "WaitingRun", "kibibytes_held"]

WaitingRun: TypeAlias = "Callable[[str, dict[str, Any]], Coroutine[Any, Any, object]]"
"""Does the run of an id with a state."""

_NUMBERS = itertools.count()
"""Of runs; a run of an id that is known holds more, for it has read what there was."""


class Gate:
    """Holds whoever comes until it is opened, and tells when all have come.

    Args:
        expected: How many will come.

    Attributes:
        crowded: Set when all have come.
        opened: To be set to let them go.
    """

    def __init__(self, expected: int) -> None:
        self._missing = expected
        self.crowded = asyncio.Event()
        self.opened = asyncio.Event()

    async def wait(self) -> None:
        """Wait until the gate is opened."""
        self._missing -= 1
        if not self._missing:
            self.crowded.set()
        await self.opened.wait()


async def kibibytes_held(runs: int, make: Callable[[Gate], WaitingRun]) -> float:
    """Give the memory of one run, of many that wait, beyond the state that it was given.

    What Python allocates is counted, in any thread; what SQLite or the kernel hold is not.

    Args:
        runs: How many wait at once.
        make: Makes what does such a run, from the gate to wait at.
    """
    gate = Gate(runs)
    run = make(gate)
    states = {f"order-{next(_NUMBERS)}": small_state() for _ in range(runs)}
    gc.collect()
    tracemalloc.start()  # The states were there before, and are not counted.
    try:
        async with asyncio.TaskGroup() as group:
            for run_id, state in states.items():
                group.create_task(run(run_id, state))
            await gate.crowded.wait()
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
            gate.opened.set()
    finally:
        tracemalloc.stop()
    return held / runs / 1024
