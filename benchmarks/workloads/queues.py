"""A queue: many runs submitted at once, beside raw rows, and worked off by processes."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure.pairs import Contender, Goal, Pair, measure

from workloads.flows import counting_flow, database
from workloads.shapes import small_state

if TYPE_CHECKING:
    import asyncio

    from aiocheckpoint import CheckpointFlow

__all__ = ["AT_ONCE", "measure_queue"]

AT_ONCE = 500
"""How many runs each process has at once, and `amap` as well."""
PROCESSES = 2

_NUMBERS = itertools.count(1)
_FLOOR_REMARK = (
    "The floor inserts as many rows of the same bytes into the same table, with its indexes, in "
    "one synced transaction by the standard library's sqlite3. It serialises nothing."
)
_WORK_REMARK = (
    "Two processes that wait for the runs, which a third one submits, beside one process that is "
    "given the runs. The time of the submission is in the rate."
)


def measure_queue(
    directory: Path, runner: asyncio.Runner, runs: int, steps: int, rounds: int
) -> list[Pair]:
    """Measure the rate of a submission, and that of a queue that is worked off.

    Args:
        directory: Where the databases are.
        runner: Has the loop.
        runs: How many runs are submitted at once.
        steps: How many steps each has.
        rounds: How many samples are kept.
    """
    with ExitStack() as stack:
        submitted = _Submission(database(directory, "submitted"), runner, runs, steps)
        rows = stack.enter_context(closing(_Rows(directory / "submitted-rows.db", runs, steps)))
        queue = stack.enter_context(
            closing(_Queue(database(directory, "queue"), runner, runs, steps))
        )
        mapped = _Mapping(database(directory, "mapped"), runner, runs, steps)
        pairs = [
            Pair(
                Contender(f"asubmit, {runs} runs", submitted.sample),
                Contender(f"floor, {runs} inserted rows", rows.sample),
                "1/s",
                Goal(0.5, at_least=True),
                remark=_FLOOR_REMARK,
            ),
            Pair(
                Contender(f"{runs} runs queued for {PROCESSES} processes", queue.sample),
                Contender(f"{runs} runs by amap", mapped.sample),
                "1/s",
                remark=_WORK_REMARK,
            ),
        ]
        measure(pairs, rounds)
    return pairs


def _states(runs: int) -> dict[str, dict[str, Any]]:
    number = next(_NUMBERS)
    return {f"order-{number}-{run}": small_state() for run in range(runs)}


class _Submission:
    def __init__(self, place: str, runner: asyncio.Runner, runs: int, steps: int) -> None:
        self._flow, self._runner, self._runs = counting_flow(place, steps), runner, runs

    def sample(self) -> float:
        """Submit runs, and give how many in a second."""
        states = _states(self._runs)
        begun = time.perf_counter()
        results = self._runner.run(self._flow.asubmit(states))
        taken = time.perf_counter() - begun
        assert all(result.status == "queued" for result in results)
        return self._runs / taken


class _Rows:
    """Inserts rows like those of queued runs, all in one transaction."""

    def __init__(self, path: Path, runs: int, steps: int) -> None:
        flow = counting_flow(f"sqlite:///{path}", steps)
        flow.submit(small_state(), run_id="order-0-00000")
        flow.handler.close()
        self._runs = runs
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA wal_autocheckpoint = 4000")
        found = self._connection.execute("SELECT * FROM runs")
        names = [name for name, *_ in found.description]
        (row,) = found.fetchall()
        self._row = dict(zip(names, row, strict=True))
        del self._row["id"]

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def sample(self) -> float:
        """Insert rows, and give how many in a second."""
        number, values = next(_NUMBERS), self._row
        rows = [
            tuple({**values, "run_id": f"order-{number}-{run}"}.values())
            for run in range(self._runs)
        ]
        marks = ", ".join("?" * len(values))
        statement = f"INSERT INTO runs ({', '.join(values)}) VALUES ({marks})"  # noqa: S608
        begun = time.perf_counter()
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(statement, rows)
        self._connection.execute("COMMIT")
        return self._runs / (time.perf_counter() - begun)


class _Mapping:
    def __init__(self, place: str, runner: asyncio.Runner, runs: int, steps: int) -> None:
        self._flow, self._runner, self._runs = counting_flow(place, steps), runner, runs

    def sample(self) -> float:
        """Run all runs in this process, and give how many in a second."""
        states = _states(self._runs)
        begun = time.perf_counter()
        ended = self._runner.run(self._take(states))
        taken = time.perf_counter() - begun
        assert ended == self._runs
        return self._runs / taken

    async def _take(self, states: dict[str, dict[str, Any]]) -> int:
        return sum(
            [result.error is None async for result in self._flow.amap(states, limit=AT_ONCE)]
        )


class _Queue:
    """Submits runs, and lets two processes work them off."""

    def __init__(self, place: str, runner: asyncio.Runner, runs: int, steps: int) -> None:
        self._flow: CheckpointFlow = counting_flow(place, steps)
        self._runner, self._runs = runner, runs
        self._flow.submit(small_state(), run_id="first")
        command = [sys.executable, "-m", "workloads.queue_worker", place, str(steps), str(AT_ONCE)]
        self._workers = [
            subprocess.Popen(
                command,
                cwd=Path(__file__).parents[1],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(PROCESSES)
        ]
        self._work_off()

    def close(self) -> None:
        """Let the workers end."""
        for worker in self._workers:
            worker.communicate()

    def sample(self) -> float:
        """Submit runs and have them worked off, and give how many in a second."""
        states = _states(self._runs)
        begun = time.perf_counter()
        self._runner.run(self._flow.asubmit(states))
        done = self._work_off()
        taken = time.perf_counter() - begun
        assert done == self._runs
        return self._runs / taken

    def _work_off(self) -> int:
        """Wake the workers, and wait until the queue is empty. Give how many runs they did."""
        for worker in self._workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        counts = list[int]()
        for worker in self._workers:
            assert worker.stdout is not None
            counts.append(int(worker.stdout.readline()))
        return sum(counts)
