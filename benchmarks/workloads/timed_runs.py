"""Runs of aiocheckpoint, timed step by step and as a whole, by `run` or by `arun`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol, Unpack

from aiocheckpoint import CheckpointFlow
from workloads.shapes import small_state

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from aiocheckpoint import HandlerOptions

__all__ = ["AsyncRuns", "Runs", "SyncRuns", "Timer"]


class Timer:
    """Times whole runs of a flow, from inside and from outside.

    Attributes:
        once: For each run the microseconds outside its steps.
    """

    def __init__(
        self, path: Path | str, steps: int, run: Runs, **options: Unpack[HandlerOptions]
    ) -> None:
        self._flow = CheckpointFlow(path, **options)
        self._run = run
        self._clock = run.clock
        self._notes: list[float] = []
        self.once: list[float] = []
        for number in range(steps):
            self._flow.add_step(name=f"step {number}")(run.step(self._notes))

    def sample(self) -> float:
        """Do one run and give the microseconds of a step."""
        self._notes.clear()
        state = small_state()
        begun = self._clock()
        self._run.whole(self._flow, state)
        taken = self._clock() - begun
        assert state["count"] == len(self._notes)
        step = (self._notes[-1] - self._notes[0]) / (len(self._notes) - 1)
        self.once.append((taken - step * len(self._notes)) * 1e6)
        return step * 1e6


class Runs(Protocol):
    """A method that runs a flow, and a step that suits it.

    Attributes:
        clock: The clock of the steps' notes and of whole runs.
    """

    clock: Callable[[], float]

    def whole(self, flow: CheckpointFlow, state: dict[str, Any]) -> None:
        """Run all steps."""

    def step(self, notes: list[float]) -> Callable[..., object]:
        """Make a step."""
        ...


class SyncRuns:
    """`run`, with sync steps."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock

    def whole(self, flow: CheckpointFlow, state: dict[str, Any]) -> None:
        """Run all steps."""
        flow.run(state)

    def step(self, notes: list[float]) -> Callable[..., object]:
        """Make a step."""
        clock = self.clock

        def count(state: dict[str, Any], data: dict[str, Any]) -> None:
            state["count"] += 1
            notes.append(clock())

        return count


class AsyncRuns:
    """`arun`, with coroutine steps, on a loop that runs already."""

    def __init__(
        self, runner: asyncio.Runner, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._runner = runner
        self.clock = clock

    def whole(self, flow: CheckpointFlow, state: dict[str, Any]) -> None:
        """Run all steps."""
        self._runner.run(flow.arun(state))

    def step(self, notes: list[float]) -> Callable[..., object]:
        """Make a step."""
        clock = self.clock

        async def count(state: dict[str, Any], data: dict[str, Any]) -> None:
            state["count"] += 1
            notes.append(clock())

        return count
