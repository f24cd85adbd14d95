"""Runs of aiocheckpoint, one after the other, each under an id of its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow
from workloads.flows import database
from workloads.shapes import small_state

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

__all__ = ["SequentialRuns", "our_runs"]


class SequentialRuns:
    """Does one run for each sample.

    Args:
        place: Where the runs are stored.
        steps: How many steps each has.
        runner: The runner for `arun` and coroutine steps. None selects `run` and functions.

    Attributes:
        between: For each sample the microseconds from one step to the next.
    """

    def __init__(self, place: str | Path, steps: int, runner: asyncio.Runner | None) -> None:
        self._flow = CheckpointFlow(place, name="orders")
        self._steps = steps
        self._runner = runner
        self._samples = 0
        self._notes: list[float] = []
        self.between: list[float] = []
        for number in range(steps):
            step = self._add_one if runner is None else self._add_one_awaited
            self._flow.add_step(name=f"step {number}")(step)

    def sample(self) -> float:
        """Do one run, and give its microseconds by the number of its steps."""
        self._samples += 1
        self._notes.clear()
        run_id, state = f"order-{self._samples}", small_state()
        if self._runner is None:
            begun = time.perf_counter()
            self._flow.run(state, run_id=run_id)
            taken = time.perf_counter() - begun
        else:
            taken = self._runner.run(self._awaited(run_id, state))
        assert state["count"] == self._steps
        self.between.append((self._notes[-1] - self._notes[0]) * 1e6 / (self._steps - 1))
        return taken * 1e6 / self._steps

    async def _awaited(self, run_id: str, state: dict[str, Any]) -> float:
        begun = time.perf_counter()
        await self._flow.arun(state, run_id=run_id)
        return time.perf_counter() - begun

    def _add_one(self, state: dict[str, Any]) -> None:
        state["count"] += 1
        self._notes.append(time.perf_counter())

    async def _add_one_awaited(self, state: dict[str, Any]) -> None:
        self._add_one(state)


def our_runs(directory: Path, steps: int, runner: asyncio.Runner) -> dict[str, SequentialRuns]:
    """Give files and SQLite, by `arun` and by `run`, by their names."""

    def files(method: str) -> Path:
        return directory / f"{method}-{steps}" / "checkpoint.pkl"

    return {
        "local file, arun": SequentialRuns(files("arun"), steps, runner),
        "SQLite, arun": SequentialRuns(database(directory, f"arun-{steps}"), steps, runner),
        "local file, run": SequentialRuns(files("run"), steps, None),
        "SQLite, run": SequentialRuns(database(directory, f"run-{steps}"), steps, None),
    }
