"""Rate of the durable steps of many runs at once, and what the runs cost the event loop and memory.

    python benchmarks/many_runs.py [--runs N] [--crowds N ...] [--rounds N] [--seconds S]
                                   [--directory DIR] [--no-rivals] [--json FILE]

Each run has five coroutine steps that add one to a number in `workloads.shapes.small_state`, a dict
of ten plain values; all runs are begun at once, in one process, and each step is stored before the
next one of its run begins. The rate is the number of steps by the time from the first run's begin
to the last one's end. The snapshot at a run's start and all else that runs cost is in the time, but
not in the number. Every sample has new runs, in the same database or directory.

The crowd of `--runs` is compared with the most: the rivals do as many such runs, each in a process
and an environment of its own, and at the settings of its documentation. What each promises is
printed below the figures: the rates are of different promises. Where a sample of a rival would take
more than a minute, or one of files more than `--seconds`, it has fewer runs; the table tells how
many each had.

`--crowds` are the numbers of runs at once, each on SQLite and on files, beside the floors: as
many rows in synced transactions of SQLite's, and as many files replaced by bare system calls, in
as many threads as aiocheckpoint has for that. Of few runs there are several crowds in a sample, one
after the other. A sample of files that is long is taken but once.

A stall is how much longer than a millisecond a task was away that sleeps for one, over and over,
while the runs go on; the longest of each sample counts. The garbage collector is left as Python has
it. As many tasks that do nothing but give way to each other, once for each step, show what the loop
costs without the library.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from measure.pairs import Contender, Goal, Pair, Report, measure, parser
from peers.concurrent_runs import RIVALS, RivalWorker
from workloads.flows import bare_wait, counting_run, database, snapshot_size, workplace
from workloads.group_commit import GroupCommit
from workloads.shapes import small_state
from workloads.sizes import FILES, OURS, STEPS, Figures, Site, measure_size, on_files
from workloads.waiting import kibibytes_held

if TYPE_CHECKING:
    import argparse

BARE = "bare tasks"
RATE = f"{OURS}, rate"
ADDED = "worst stall, by how much more than bare tasks'"
MANY = 10_000
"""A crowd that is to go as fast as the one of `--runs`, and to hold 10 kB for each run."""

GOALS = {
    RATE: Goal(25_000, at_least=True),
    ADDED: Goal(20),
    f"memory of a waiting run, {MANY} runs, {OURS}": Goal(9.77),
}
ABOUT_OURS = (
    f"{OURS}, journal_mode=wal, synchronous=FULL, and on files: a step's snapshot is on the disk "
    "before the next step of its run begins, survives a power cut, and is whole or not there. The "
    "newest of each run stays stored."
)
ABOUT_FLOOR = (
    "floor of rows: one synced transaction for a step of all runs, of as many bytes as a snapshot "
    "has, by the standard library's sqlite3; of files: each written, synced and renamed over the "
    "old one, and the directory synced, by bare system calls in a few threads. They serialise "
    "nothing and run no loop."
)
ABOUT_MEMORY = (
    "memory: what Python allocates in all threads, less the state that a run was given; what "
    "SQLite and the kernel hold is not in it."
)


class Crowds:
    """What is measured on the loop of this process.

    Args:
        site: Where and how.
        runs: How many runs there are at once; of files, fewer where they are slow.
        stack: Closes the floor.
    """

    def __init__(self, site: Site, runs: int, stack: ExitStack) -> None:
        directory = site.directory
        self._files, _ = on_files(site, directory / "files" / "checkpoint.pkl", runs)
        self._ours = site.crowd(runs, counting_run(database(directory, "counting"), STEPS))
        self._bare = site.crowd(runs, _give_way)
        self._rows = GroupCommit(directory / "floor.sqlite", runs, STEPS, site.size)
        stack.enter_context(closing(self._rows))
        self.ours = Contender(f"{OURS}, {runs} runs", self._ours.sample)

    def pairs(self) -> list[Pair]:
        """Pair the runs on SQLite with the others."""
        runs = self._ours.runs
        files = Contender(f"{FILES}, {self._files.runs} runs", self._files.sample)
        bare = Contender(f"{BARE}, {runs}", self._bare.sample)
        rows = Contender(f"floor, {runs} rows", self._rows.sample)
        return [
            Pair(self.ours, files, "1/s"),
            Pair(self.ours, bare, "1/s"),
            Pair(self.ours, rows, "1/s", Goal(0.1, at_least=True)),
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


def _memory(site: Site, runs: int) -> Figures:
    held = site.held("", database(site.directory, "waiting"), runs)
    bare = [site.runner.run(kibibytes_held(runs, bare_wait)) for _ in range(site.rounds)]
    return held | {"memory of a waiting bare task": ("KiB", bare)}


def _against_rivals(
    ours: Contender, directory: Path, runs: int, rounds: int
) -> tuple[list[Pair], dict[str, str], list[str]]:
    pairs = list[Pair]()
    versions = dict[str, str]()
    promises = list[str]()
    for rival in RIVALS:
        path = directory / f"{rival.key}.sqlite"
        with RivalWorker(rival, path, runs, STEPS, small_state()) as worker:
            pair = Pair(ours, worker.contender, "1/s", rival.goal)
            measure([pair], rounds, warm_ups=0, freeze=False)  # The worker was, to learn its rate.
            pairs.append(pair)
            versions |= worker.versions
            promises.append(worker.promise)
    return pairs, versions, promises


def _against_itself(site: Site, ours: Contender, runs: int) -> list[Pair]:
    """Pair a crowd that is very large with the one that is compared with the rivals."""
    crowd = site.crowd(runs, counting_run(database(site.directory, "many"), STEPS))
    many = Contender(f"{OURS}, {runs} runs", crowd.sample)
    pair = Pair(many, ours, "1/s", Goal(0.8, at_least=True))
    measure([pair], site.rounds, freeze=False)
    return [pair]


def _arguments() -> argparse.Namespace:
    made = parser("Rate of the durable steps of many runs at once.", rounds=3)
    made.add_argument("--runs", type=int, default=1000, help="how many runs there are at once")
    made.add_argument(
        "--crowds", type=int, nargs="*", default=[1, 10, 100, 1000, MANY], help="numbers of runs"
    )
    made.add_argument("--seconds", type=float, default=40, help="for a sample of files, at most")
    made.add_argument("--directory", type=Path, help="where to write; the system's temporary one")
    made.add_argument("--no-rivals", action="store_true", help="leave the rivals out")
    return made.parse_args()


def _measure_all(
    site: Site, arguments: argparse.Namespace, stack: ExitStack
) -> tuple[list[Pair], Figures, dict[str, str], list[str]]:
    runs, rounds = arguments.runs, site.rounds
    crowds = Crowds(site, runs, stack)
    pairs = crowds.pairs()
    measure(pairs, rounds, freeze=False)
    figures = crowds.stalls(rounds) | _memory(site, runs)
    versions, promises = dict[str, str](), list[str]()
    if not arguments.no_rivals:
        against, versions, promises = _against_rivals(crowds.ours, site.directory, runs, rounds)
        pairs += against
    rates = [rate for pair in pairs if pair.subject is crowds.ours for rate in pair.subject_samples]
    if MANY in arguments.crowds:
        pairs += _against_itself(site, crowds.ours, MANY)
    for size in arguments.crowds:
        more, of_them = measure_size(site, size)
        pairs += more
        figures |= of_them
    return pairs, {RATE: ("1/s", rates)} | figures, versions, promises


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    arguments = _arguments()
    with ExitStack() as stack:
        directory, runner = stack.enter_context(workplace(arguments.directory))
        site = Site(
            directory, arguments.rounds, arguments.seconds, runner, snapshot_size(directory)
        )
        pairs, figures, versions, promises = _measure_all(site, arguments, stack)
        notes = [ABOUT_OURS, ABOUT_FLOOR, ABOUT_MEMORY, *promises]
        workload = (
            f"{arguments.runs} runs at once of {STEPS} steps, "
            f"state of {len(small_state())} plain values"
        )
        Report(workload, pairs, directory, versions, figures, notes, GOALS).finish(arguments.json)


if __name__ == "__main__":
    main()
