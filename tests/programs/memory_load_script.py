"""Loads a flow with runs, or a stream with events, and prints how much memory that took.

Called as `python memory_load_script.py PLACE WHAT PACE COUNT`. WHAT is `amap`, which maps so many
runs of one step from an async generator, or `astream`, which streams one run of so many steps. PACE
is `fast`, or `slow` for a loop that lets the others do all they can before it takes the next.
Prints as JSON what was seen: the most pairs or events that were taken or told and not yet given,
the growth of the peak of memory behind the first tenth, and the seconds.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

State = dict[str, Any]

LIMIT = 100
STEPS = 2_000
"""Of a run that is streamed; as many runs follow each other as the count of events asks for."""
REST = 40
"""Turns of the loop that a slow one takes for each thing."""


class MemoryLoad:
    """What is let in and what comes out.

    Attributes:
        let_in: How many pairs were taken, or events told.
        given: How many results or events the loop has done with.
        most: The most by which the one was ahead of the other.
    """

    def __init__(self, place: str, pace: str, count: int) -> None:
        """Begin nothing yet."""
        self.let_in = self.given = self.most = 0
        self.begun = time.perf_counter()
        self.early = 0
        self._place, self._pace, self._count = place, pace, count

    async def amap(self) -> None:
        """Map runs of one step."""
        cp = CheckpointFlow(self._place, handler="sqlite", fsync=False)
        cp.add_step(name="only", thread=False)(self._step)
        async with aclosing(cp.amap(self._pairs(), limit=LIMIT)) as results:
            async for result in results:
                assert result.error is None
                await self._take()

    async def astream(self) -> None:
        """Stream runs, one behind the other."""
        cp = CheckpointFlow(self._place, handler="sqlite", fsync=False, hooks=[self._let_in])
        for number in range(STEPS):
            cp.add_step(name=str(number), thread=False)(self._step)
        run = 0
        while self.given < self._count:
            run += 1
            async with aclosing(cp.astream({"n": 0}, run_id=str(run))) as stream:
                async for _ in stream:
                    await self._take()

    def report(self) -> dict[str, Any]:
        """Tell what was seen."""
        return {
            "given": self.given,
            "most": self.most,
            "grown": peak() - self.early,
            "peak": peak(),
            "seconds": round(time.perf_counter() - self.begun, 1),
        }

    async def _pairs(self) -> AsyncGenerator[tuple[str, State], None]:
        for number in range(self._count):
            self._let_in()
            yield f"run-{number}", {"n": number, "filling": "x" * 1_000}

    def _let_in(self, _: object = None) -> None:
        self.let_in += 1
        self.most = max(self.most, self.let_in - self.given)

    async def _step(self, state: State) -> None:
        state["n"] += 1

    async def _take(self) -> None:
        if self._pace == "slow":
            for _ in range(REST):
                await asyncio.sleep(0)
        self.given += 1
        if self.given == self._count // 10:
            self.early = peak()


def peak() -> int:
    """The most memory that this process ever had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(place: str, what: str, pace: str, count: str) -> None:
    """Do as the command line says."""
    memory_load = MemoryLoad(place, pace, int(count))
    asyncio.run(memory_load.amap() if what == "amap" else memory_load.astream())
    sys.stdout.write(json.dumps(memory_load.report()))


if __name__ == "__main__":
    main(*sys.argv[1:])
