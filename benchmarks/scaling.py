"""How the cost of a step grows: with the flow's steps, the runs stored beside, and the state.

    python benchmarks/scaling.py [--rounds N] [--steps N] [--rows N] [--bytes N] [--work N]
                                 [--directory DIR] [--json FILE]

Steps: whole runs by `run` of flows of 10 steps and always ten times as many, on a file, with a
small state. The cost of a step is the time between the first and the last by the steps between.
With fsync=False the disk has no part in it, which shows the cost of the code best.

Rows: a run of five steps on SQLite by `arun`, with a new random id, in databases that already hold
so many finished runs. A sample has many such runs one after the other, so that it includes
checkpoints of SQLite. The base is as many runs in an empty database. The runs are deleted after
each sample. The stored runs are copies of one run of the library, each with an id, a header and a
footer of its own. Those of the largest database are counted by status as well.

Bytes: steps with so many bytes in the state, against the floor of `workloads/floor.py` with the
same state.

A straight line is fitted to the logarithms of size and cost in each round. Its slope is the
exponent: 0 for a constant cost, 1 for a proportional one. `--rows 1000000` makes a database of
about 1.2 GB.
"""

from __future__ import annotations

import itertools
import os
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure.pairs import Contender, Goal, Pair, Report, measure, parser
from measure.size_series import SizeSeries, tenfold_sizes
from workloads.floor import Floor
from workloads.flows import counting_run, database, workplace
from workloads.rows import fill, run_ids
from workloads.shapes import small_state

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    import argparse
    import asyncio

FEWEST_STEPS = 10
STEPS_OF_SIZE = 20
STEPS_OF_RUN = 5
TEMPLATE = "template"
COUNTED_RUNS, COUNT_MILLISECONDS = 100_000, 20
"""The goal of counting: so many runs in so much time."""


class Steps:
    """Whole runs of a flow on a file by `run`.

    Args:
        path: The checkpoint.
        count: How many steps there are.
        state: The initial state of each run. The steps count in it.
        work: How many steps a sample has at least.
        fsync: Whether the steps are durable.
    """

    def __init__(
        self, path: Path, count: int, state: dict[str, Any], work: int, *, fsync: bool = True
    ) -> None:
        self._runs = max(1, work // count)
        self._flow = CheckpointFlow(path, fsync=fsync)
        self._state = state
        self._count = count
        self._first = self._last = 0.0
        for number in range(count):
            self._flow.add_step(name=f"step {number}")(self._add_one)

    def sample(self) -> float:
        """Give the microseconds of a step, of a run or of several short ones."""
        return sum(self._microseconds() for _ in range(self._runs)) / self._runs

    def _microseconds(self) -> float:
        self._flow.run(self._state | {"count": 0})
        return (self._last - self._first) * 1e6 / (self._count - 1)

    def _add_one(self, state: dict[str, Any]) -> None:
        state["count"] += 1
        self._last = time.perf_counter()
        if state["count"] == 1:
            self._first = self._last


class Rows:
    """Runs on SQLite beside so many that are stored.

    Args:
        directory: Where the database is made.
        count: How many runs are stored in it.
        runs: How many a sample has.
        runner: Has the loop.
    """

    _seeds = itertools.count(1)

    def __init__(self, directory: Path, count: int, runs: int, runner: asyncio.Runner) -> None:
        place = database(directory, f"{count}-rows")
        self._run = counting_run(place, STEPS_OF_RUN)
        self._flow = CheckpointFlow(place, name="orders")
        self._runs = runs
        self._runner = runner
        runner.run(self._one_by_one([TEMPLATE]))
        if count:
            fill(directory / f"{count}-rows.db", TEMPLATE, count)
        else:
            self._flow.delete(TEMPLATE)
        self.sample()  # The first sample opens the database and fills its cache.

    def sample(self) -> float:
        """Give the milliseconds of a run."""
        ids = run_ids(self._runs, next(self._seeds))
        taken = self._runner.run(self._one_by_one(ids))
        for run_id in ids:
            self._flow.delete(run_id)
        return taken * 1e3 / self._runs

    def count(self) -> float:
        """Give the milliseconds of a count of all stored runs by status."""
        begun = time.perf_counter()
        self._flow.count(by="status")
        return (time.perf_counter() - begun) * 1e3

    async def _one_by_one(self, ids: list[str]) -> float:
        begun = time.perf_counter()
        for run_id in ids:
            await self._run(run_id)
        return time.perf_counter() - begun


def _by_steps(directory: Path, most: int, work: int, *, fsync: bool) -> SizeSeries:
    what = f"steps, run{'' if fsync else ', fsync=False'}"

    def flow(count: int) -> Steps:
        path = directory / f"{count}-steps-{fsync}.pkl"
        return Steps(path, count, small_state(), work, fsync=fsync)

    least = flow(FEWEST_STEPS)
    least.sample()
    base = Contender(f"{FEWEST_STEPS} {what}", least.sample)
    costs = {count: flow(count).sample for count in tenfold_sizes(10 * FEWEST_STEPS, most)}
    return SizeSeries.over(what, base, FEWEST_STEPS, costs, "µs")


def _by_rows(rows: dict[int, Rows], base: Rows) -> SizeSeries:
    costs = {count: stored.sample for count, stored in rows.items()}
    empty = Contender("no rows", base.sample)
    return SizeSeries.over("rows, arun on SQLite", empty, 0, costs, "ms")


def _by_bytes(directory: Path, most: int, work: int, stack: ExitStack) -> SizeSeries:
    pairs = dict[int, Pair]()
    what = "bytes of state, run"
    for size in tenfold_sizes(1000, most):
        state = {"count": 0, "bytes": os.urandom(size)}
        ours = Steps(directory / f"{size}-bytes.pkl", STEPS_OF_SIZE, state, work)
        floor = stack.enter_context(closing(Floor(directory, work, state)))
        base = Contender(f"floor without hop, {size} bytes", floor.without_hop)
        pairs[size] = Pair(Contender(f"{size} {what}", ours.sample), base, "µs")
    return SizeSeries(what, pairs, own_bases=True)


def _arguments() -> argparse.Namespace:
    made = parser("How the cost of a step grows.", rounds=5)
    made.add_argument("--steps", type=int, default=10_000, help="the most steps, 100 or more")
    made.add_argument("--rows", type=int, default=100_000, help="the most runs stored, 100 or more")
    made.add_argument("--bytes", type=int, default=10_000_000, help="the largest, 10000 or more")
    made.add_argument("--work", type=int, default=100, help="runs or steps of a sample, at least")
    made.add_argument("--directory", type=Path, help="where to write; the system's temporary one")
    return made.parse_args()


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    arguments = _arguments()
    work: int = arguments.work
    with ExitStack() as stack:
        directory, runner = stack.enter_context(workplace(arguments.directory))
        sizes = [0, *tenfold_sizes(10, arguments.rows)]
        base, *stored = (Rows(directory, count, work, runner) for count in sizes)
        rows = dict(zip(sizes[1:], stored, strict=True))
        series = [
            _by_steps(directory, arguments.steps, work, fsync=True),
            _by_steps(directory, arguments.steps, work, fsync=False),
            _by_rows(rows, base),
            _by_bytes(directory, arguments.bytes, work, stack),
        ]
        pairs = [pair for one in series for pair in one.pairs.values()]
        measure(pairs, arguments.rounds, warm_ups=0)  # the largest take long, and were made before
        figures: dict[str, tuple[str, list[float]]] = dict(
            fit for one in series for fit in one.fits()
        )
        counting = f"count of {max(rows)} runs by status"
        figures[counting] = "ms", [rows[max(rows)].count() for _ in range(arguments.rounds)]
        goals = {counting: Goal(COUNT_MILLISECONDS)} if max(rows) == COUNTED_RUNS else {}
        workload = f"One step of a flow, or one run of {STEPS_OF_RUN} steps on SQLite"
        report = Report(workload, pairs, directory, {}, figures, goals=goals)
        report.finish(arguments.json)


if __name__ == "__main__":
    main()
