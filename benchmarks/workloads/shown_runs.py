"""Runs with a display, and without: one long run, and many at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from workloads.flows import counting_flow, database
from workloads.shapes import small_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiocheckpoint import CheckpointFlow
    from aiocheckpoint._display.live.displays import ProgressWord

__all__ = ["ManyRuns", "OneRun", "Taken"]

STEPS_OF_MANY = 5


class Taken(NamedTuple):
    """What a sample took.

    Attributes:
        time: In milliseconds, from begin to end.
        cpu: The time of the processor in milliseconds, in all threads.
    """

    time: float
    cpu: float


class OneRun:
    """A run of many short steps, each durable.

    Args:
        directory: Where it is stored.
        steps: How many steps it has.
    """

    def __init__(self, directory: Path, steps: int) -> None:
        self._flow = counting_flow(directory / "one.pkl", steps)

    def sample(self, progress: ProgressWord) -> Taken:
        """Do the run, with a display by its word."""
        return _taken(lambda: self._run(progress))

    def _run(self, progress: ProgressWord) -> None:
        self._flow.run(small_state(), progress=progress)


class ManyRuns:
    """Many runs at once on a database.

    Args:
        directory: Where they are stored.
        runs: How many there are.
    """

    def __init__(self, directory: Path, runs: int) -> None:
        self._flow: CheckpointFlow = counting_flow(database(directory, "many"), STEPS_OF_MANY)
        self._runs = runs
        self._samples = 0

    def sample(self, progress: ProgressWord) -> Taken:
        """Do all runs under new ids, with one display by its word."""
        self._samples += 1
        numbers = range(self._runs)
        states = {f"{self._samples}-{number}": small_state() for number in numbers}
        return _taken(lambda: self._all(states, progress))

    def _all(self, states: dict[str, dict[str, Any]], progress: ProgressWord) -> None:
        results = [*self._flow.map(states, limit=self._runs, progress=progress)]
        assert all(result.error is None for result in results)

    def close(self) -> None:
        """Close the database."""
        self._flow.handler.close()


def _taken(work: Callable[[], None]) -> Taken:
    begun, cpu = time.perf_counter(), time.process_time()
    work()
    return Taken((time.perf_counter() - begun) * 1e3, (time.process_time() - cpu) * 1e3)
