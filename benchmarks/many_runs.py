"""Rate of the durable steps of many runs at once, and their cost in stalls and memory.

    python benchmarks/many_runs.py [--runs N] [--crowds N ...] [--queued N] [--rounds N]
                                   [--seconds S] [--directory DIR] [--no-rivals] [--json FILE]

Each run has five coroutine steps that add one to a number in `workloads.shapes.small_state`, a dict
of ten plain values. All runs start at once, in one process. Each step is stored before the next
step of its run begins. The rate is the number of steps by the time from the first run's start to
the last run's end. Snapshots at the start of a run and all other costs of a run are in the time,
but not in the number. Every sample has new runs, in the same database or directory.

The crowd of `--runs` is compared with the most. The rivals do as many such runs, each in a process
and an environment of its own, at the settings of its documentation. The promises of each are
printed below the figures, because the rates are of different promises. A rival has fewer runs if a
sample would take more than a minute, and files if it would take more than `--seconds`. The table
shows the number of runs.

`--crowds` are the numbers of runs at once, each on SQLite and on files, beside two floors. One
updates as many rows in synced transactions of SQLite. The other replaces as many files by bare
system calls, in as many threads as aiocheckpoint has for them. A sample of few runs has several
crowds, one after the other. A long sample of files is taken only once.

The queue has 10,000 runs or `--queued`: submitted at once, beside as many inserted rows, and worked
off by two processes, beside the same runs by `amap`.

Stalls are measured by a task that sleeps for a millisecond, over and over, while the runs are
active. A stall is the delay of its wake-up, and the longest of each sample counts. The garbage
collector keeps Python's settings. As many bare tasks, which only yield to each other once for each
step, show the cost of the loop without the library.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from measure.pairs import Contender, Goal, Pair, Report, measure, parser
from peers.concurrent_runs import RIVALS, RivalWorker
from workloads.crowd_sizes import FILES, OURS, STEPS, CrowdSettings, Figures, measure_size, on_files
from workloads.flows import bare_wait, counting_run, database, snapshot_size, workplace
from workloads.group_commit import GroupCommit
from workloads.queues import measure_queue
from workloads.shapes import small_state
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
    """The crowds on the loop of this process.

    Args:
        settings: Where and how they are measured.
        runs: How many runs there are at once. Slow files have fewer.
        stack: Closes the floor.
    """

    def __init__(self, settings: CrowdSettings, runs: int, stack: ExitStack) -> None:
        directory = settings.directory
        self._files, _ = on_files(settings, directory / "files" / "checkpoint.pkl", runs)
        self._ours = settings.crowd(runs, counting_run(database(directory, "counting"), STEPS))
        self._bare = settings.crowd(runs, _give_way)
        self._rows = GroupCommit(directory / "floor.sqlite", runs, STEPS, settings.size)
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
        """Give the stalls of the kept rounds, which come last among the samples."""
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


def _memory(settings: CrowdSettings, runs: int) -> Figures:
    held = settings.held("", database(settings.directory, "waiting"), runs)
    bare = [settings.runner.run(kibibytes_held(runs, bare_wait)) for _ in range(settings.rounds)]
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


def _against_itself(settings: CrowdSettings, ours: Contender, runs: int) -> list[Pair]:
    """Pair a crowd that is very large with the one that is compared with the rivals."""
    crowd = settings.crowd(runs, counting_run(database(settings.directory, "many"), STEPS))
    many = Contender(f"{OURS}, {runs} runs", crowd.sample)
    pair = Pair(many, ours, "1/s", Goal(0.8, at_least=True))
    measure([pair], settings.rounds, freeze=False)
    return [pair]


def _arguments() -> argparse.Namespace:
    made = parser("Rate of the durable steps of many runs at once.", rounds=3)
    made.add_argument("--runs", type=int, default=1000, help="how many runs there are at once")
    made.add_argument(
        "--crowds", type=int, nargs="*", default=[1, 10, 100, 1000, MANY], help="numbers of runs"
    )
    made.add_argument("--queued", type=int, default=MANY, help="runs in the queue; 0 for no queue")
    made.add_argument("--seconds", type=float, default=40, help="for a sample of files, at most")
    made.add_argument("--directory", type=Path, help="where to write; the system's temporary one")
    made.add_argument("--no-rivals", action="store_true", help="leave the rivals out")
    return made.parse_args()


def _measure_all(
    settings: CrowdSettings, arguments: argparse.Namespace, stack: ExitStack
) -> tuple[list[Pair], Figures, dict[str, str], list[str]]:
    runs, rounds = arguments.runs, settings.rounds
    crowds = Crowds(settings, runs, stack)
    pairs = crowds.pairs()
    measure(pairs, rounds, freeze=False)
    figures = crowds.stalls(rounds) | _memory(settings, runs)
    versions, promises = dict[str, str](), list[str]()
    if not arguments.no_rivals:
        against, versions, promises = _against_rivals(crowds.ours, settings.directory, runs, rounds)
        pairs += against
    rates = [rate for pair in pairs if pair.subject is crowds.ours for rate in pair.subject_samples]
    if MANY in arguments.crowds:
        pairs += _against_itself(settings, crowds.ours, MANY)
    if arguments.queued:
        pairs += measure_queue(
            settings.directory, settings.runner, arguments.queued, STEPS, settings.rounds
        )
    for size in arguments.crowds:
        more, of_them = measure_size(settings, size)
        pairs += more
        figures |= of_them
    return pairs, {RATE: ("1/s", rates)} | figures, versions, promises


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    arguments = _arguments()
    with ExitStack() as stack:
        directory, runner = stack.enter_context(workplace(arguments.directory))
        settings = CrowdSettings(
            directory, arguments.rounds, arguments.seconds, runner, snapshot_size(directory)
        )
        pairs, figures, versions, promises = _measure_all(settings, arguments, stack)
        notes = [ABOUT_OURS, ABOUT_FLOOR, ABOUT_MEMORY, *promises]
        workload = (
            f"{arguments.runs} runs at once of {STEPS} steps, "
            f"state of {len(small_state())} plain values"
        )
        Report(workload, pairs, directory, versions, figures, notes, GOALS).finish(arguments.json)


if __name__ == "__main__":
    main()
