"""Rate of the durable steps of many runs at once, and what the runs cost the event loop and memory.

    python benchmarks/many_runs.py [--runs N] [--rounds N] [--directory DIR] [--no-rivals]
                                   [--json FILE]

Each run has five coroutine steps that add one to a number in `_shapes.small_state`, a dict of ten
plain values; all runs are begun at once, in one process, and each step is stored before the next
one of its run begins. The rate is the number of steps by the time from the first run's begin to the
last one's end. The snapshot at a run's start and all else that runs cost is in the time, but not in
the number. Every sample has new runs, in the same database or directory.

The rivals do as many such runs, each in a process and an environment of its own, and at the
settings of its documentation. What each promises is printed below the figures: the rates are of
different promises. Where a sample of a rival would take more than a minute, or one of files more
than ten seconds, it has fewer runs; the table tells how many each had.

A stall is how much longer than a millisecond a task was away that sleeps for one, over and over,
while the runs go on; the longest of each sample counts. The garbage collector is left as Python has
it. As many tasks that do nothing but give way to each other, once for each step, show what the loop
costs without the library.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from _crowd import Crowd, most_open_files
from _flows import (
    bare_wait,
    close_databases,
    counting_run,
    database,
    snapshot_size,
    waiting_run,
)
from _group_commit import GroupCommit
from _measure import Contender, Goal, Pair, Report, measure, parser
from _rivals import PROBE, RIVALS, RivalWorker, affordable
from _shapes import small_state
from _waiting import kibibytes_held

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from _waiting import Gate, WaitingRun

Figures: TypeAlias = "dict[str, tuple[str, Sequence[float]]]"

STEPS = 5
LONGEST_OF_FILES = 10.0
OURS = "aiocheckpoint on SQLite"
FILES = "aiocheckpoint on files"
BARE = "bare tasks"
RATE = f"{OURS}, rate"
ADDED = "worst stall, by how much more than bare tasks'"
GOALS = {RATE: Goal(20_000, at_least=True), ADDED: Goal(20)}
ABOUT_OURS = (
    f"{OURS}, journal_mode=wal, synchronous=FULL, and on files: a step's snapshot is on the disk "
    "before the next step of its run begins, survives a power cut, and is whole or not there. The "
    "newest of each run stays stored."
)
ABOUT_FLOOR = (
    "floor: one synced transaction for a step of all runs, of as many bytes as a snapshot has, by "
    "the standard library's sqlite3; it serialises nothing and runs no loop."
)
ABOUT_MEMORY = (
    "memory: what Python allocates in all threads, less the state that a run was given; what "
    "SQLite and the kernel hold is not in it."
)


class Crowds:
    """What is measured on the loop of this process.

    Args:
        directory: Where it is written.
        runs: How many runs there are at once; of files, fewer where they are slow.
        runner: Has the loop.
    """

    def __init__(self, directory: Path, runs: int, runner: asyncio.Runner) -> None:
        files = counting_run(directory / "files" / "checkpoint.pkl", STEPS)
        rate = Crowd(runner, min(runs, PROBE), STEPS, files).sample()
        self._of_files = min(affordable(runs, rate, STEPS, LONGEST_OF_FILES), most_open_files())
        self._runs = runs
        ours = counting_run(database(directory, "counting"), STEPS)
        self._ours = Crowd(runner, runs, STEPS, ours)
        self._files = Crowd(runner, self._of_files, STEPS, files)
        self._bare = Crowd(runner, runs, STEPS, _give_way)
        self.ours = Contender(f"{OURS}, {runs} runs", self._ours.sample)

    def pairs(self) -> list[Pair]:
        """Pair the runs on SQLite with the others."""
        others = {
            f"{FILES}, {self._of_files} runs": self._files,
            f"{BARE}, {self._runs}": self._bare,
        }
        return [
            Pair(self.ours, Contender(name, crowd.sample), "1/s") for name, crowd in others.items()
        ]

    def stalls(self, rounds: int) -> Figures:
        """Give the stalls of the rounds that count; the last of the samples are theirs."""
        ours, files, bare = (crowd.stalls for crowd in (self._ours, self._files, self._bare))
        plays = len(ours) // len(bare)
        ours, files, bare = ours[-rounds * plays :], files[-rounds:], bare[-rounds:]
        return {
            f"worst stall, {OURS}": ("ms", ours),
            f"worst stall, {FILES}": ("ms", files),
            f"worst stall, {BARE}": ("ms", bare),
            ADDED: ("ms", [stall - bare[index // plays] for index, stall in enumerate(ours)]),
        }


async def _give_way(run_id: str) -> None:
    """Do a run's steps without the library."""
    for _ in range(STEPS):
        await asyncio.sleep(0)


def _memory(directory: Path, runs: int, rounds: int, runner: asyncio.Runner) -> Figures:
    makers: dict[str, Callable[[Gate], WaitingRun]] = {
        "memory of a waiting run": partial(waiting_run, database(directory, "waiting"), STEPS),
        "memory of a waiting bare task": bare_wait,
    }
    return {
        name: ("KiB", [runner.run(kibibytes_held(runs, make)) for _ in range(rounds)])
        for name, make in makers.items()
    }


def _against_rivals(
    ours: Contender, directory: Path, runs: int, stack: ExitStack
) -> tuple[list[Pair], dict[str, str], list[str]]:
    pairs = list[Pair]()
    versions = dict[str, str]()
    promises = list[str]()
    for rival in RIVALS:
        path = directory / f"{rival.key}.sqlite"
        worker = stack.enter_context(RivalWorker(rival, path, runs, STEPS, small_state()))
        pairs.append(Pair(ours, worker.contender, "1/s", rival.goal))
        versions |= worker.versions
        promises.append(worker.promise)
    return pairs, versions, promises


def _arguments() -> argparse.Namespace:
    made = parser("Rate of the durable steps of many runs at once.", rounds=5)
    made.add_argument("--runs", type=int, default=1000, help="how many runs there are at once")
    made.add_argument("--directory", type=Path, help="where to write; the system's temporary one")
    made.add_argument("--no-rivals", action="store_true", help="leave the rivals out")
    return made.parse_args()


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    arguments = _arguments()
    runs, rounds = arguments.runs, arguments.rounds
    with ExitStack() as stack:
        place = tempfile.TemporaryDirectory(dir=arguments.directory)
        directory = Path(stack.enter_context(place))
        stack.callback(close_databases, directory)
        runner = stack.enter_context(asyncio.Runner())
        floor = GroupCommit(directory / "floor.sqlite", runs, STEPS, snapshot_size(directory))
        stack.enter_context(closing(floor))
        crowds = Crowds(directory, runs, runner)
        pairs = crowds.pairs()
        pairs.append(Pair(crowds.ours, Contender(f"floor, {runs} rows", floor.sample), "1/s"))
        versions, promises = dict[str, str](), list[str]()
        if not arguments.no_rivals:
            against, versions, promises = _against_rivals(crowds.ours, directory, runs, stack)
            pairs += against
        measure(pairs, rounds, freeze=False)
        rates = [sample for pair in pairs for sample in pair.subject_samples]
        figures = {RATE: ("1/s", rates)} | crowds.stalls(rounds)
        figures |= _memory(directory, runs, rounds, runner)
        notes = [ABOUT_OURS, ABOUT_FLOOR, ABOUT_MEMORY, *promises]
        workload = (
            f"{runs} runs at once of {STEPS} steps, state of {len(small_state())} plain values"
        )
        Report(workload, pairs, directory, versions, figures, notes, GOALS).finish(arguments.json)


if __name__ == "__main__":
    main()
