"""Cost of a step of aiocheckpoint and of other durable libraries, for a small state.

    python benchmarks/rivals.py [--rounds N] [--steps N ...] [--seconds S] [--only NAME ...]
                                [--no-rivals] [--directory DIR] [--json FILE]

All libraries have the same work. Their runs of 20 and of 5 steps add one to a number in
`workloads.shapes.small_state`, a dict of ten plain values. The runs come one after the other, each
under an id of its own where there are ids. The steps are coroutines, except with gumly and `run`.
Each step is stored before the next one begins, where the library can do so. The table shows the
time of a whole run by the number of its steps, the costs of the run included. The time from one
step to the next, as noted by the steps themselves, is printed below.

Each library is installed from PyPI into an environment of its own, and measured in a process of its
own, at the settings of its documentation, see `peers/workers/`. Each is paired with the most
similar use of aiocheckpoint, and the ratio is its cost by the cost of aiocheckpoint. The libraries
come one after the other, because some have servers that are never quite idle. Their promises are
printed with the figures, because they differ. A library that cannot be installed or started is
named with the reason, and the others are still measured.

A slow library has fewer rounds than `--rounds`: as many as fit into `--seconds`, but at least two.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from measure.environments import WorkerEndedError
from measure.pairs import Contender, Pair, Report, measure, parser
from page.promises import OURS
from peers.single_runs import PEERS, PeerWorker
from workloads.flows import workplace
from workloads.sequential_runs import our_runs
from workloads.shapes import small_state

if TYPE_CHECKING:
    import argparse
    import asyncio
    from collections.abc import Sequence

    from peers.single_runs import Peer
    from workloads.sequential_runs import SequentialRuns

ABOUT = (
    "the figures are whole runs by their steps; what a server does later, when it has answered, is "
    "not in them. Each row of promises is of a step that is done, before the next one begins."
)


@dataclass(slots=True)
class Findings:
    """All figures measured so far.

    Attributes:
        pairs: The figures.
        between: Samples of the time from one step to the next, by name.
        versions: Versions of the measured libraries, by name.
        absent: Reasons of the libraries that could not be measured, by name.
    """

    pairs: list[Pair] = field(default_factory=list[Pair])
    between: dict[str, tuple[str, Sequence[float]]] = field(
        default_factory=dict[str, tuple[str, "Sequence[float]"]]
    )
    versions: dict[str, str] = field(default_factory=dict[str, str])
    absent: dict[str, str] = field(default_factory=dict[str, str])

    def note_between(self, name: str, alone: SequentialRuns | PeerWorker, pair: Pair) -> None:
        """Keep the last samples between steps, which belong to the rounds."""
        self.between[f"{name}, between"] = ("µs", alone.between[-len(pair.subject_samples) :])


class Comparison:
    """Measures runs of one number of steps.

    Args:
        directory: Where they are stored.
        steps: How many steps a run has.
        runner: Has the loop.
        arguments: The number of rounds, and the seconds they may take.
        found: Takes the figures.
    """

    def __init__(
        self,
        directory: Path,
        steps: int,
        runner: asyncio.Runner,
        arguments: argparse.Namespace,
        found: Findings,
    ) -> None:
        self._directory = directory
        self._steps = steps
        self._seconds: float = arguments.seconds
        self._most: int = arguments.rounds
        self._found = found
        self._ways = our_runs(directory, steps, runner)

    def measure_ours(self) -> None:
        """Measure files and SQLite, by `arun` and by `run`."""
        pairs = list[Pair]()
        for method in ("arun", "run"):
            pair = Pair(self._ours(f"local file, {method}"), self._ours(f"SQLite, {method}"), "µs")
            pairs.append(pair)
        measure(pairs, self._most, freeze=False)
        self._found.pairs += pairs
        for way, alone in self._ways.items():
            self._found.note_between(self._title(f"aiocheckpoint, {way}"), alone, pairs[0])

    def measure_peer(self, peer: Peer) -> None:
        """Measure another library beside ours."""
        name = self._title(peer.name)
        path = self._directory / f"{name.replace(', ', '-').replace(' ', '-')}.store"
        with PeerWorker(peer, path, self._steps, small_state()) as worker:
            contender = Contender(name, worker.sample)
            remark = f"promises: {peer.promise.in_short()}"
            pair = Pair(contender, self._ours(peer.ours), "µs", remark=remark)
            measure([pair], self._rounds(worker), freeze=False)
            self._found.pairs.append(pair)
            self._found.note_between(name, worker, pair)
            self._found.versions |= worker.versions

    def _rounds(self, worker: PeerWorker) -> int:
        seconds = worker.sample() * self._steps / 1e6
        affordable = int(self._seconds / seconds)
        return max(2, min(affordable, self._most))

    def _ours(self, way: str) -> Contender:
        return Contender(self._title(f"aiocheckpoint, {way}"), self._ways[way].sample)

    def _title(self, name: str) -> str:
        return f"{name}, {self._steps} steps"


def _arguments() -> argparse.Namespace:
    made = parser("Cost of a step beside that of other libraries.", rounds=30)
    made.add_argument("--steps", type=int, nargs="+", default=[20, 5], help="2 or more, each")
    made.add_argument("--seconds", type=float, default=8, help="for the rounds of one library")
    names = [peer.name for peer in PEERS]
    made.add_argument("--only", nargs="+", choices=names, default=names, help="libraries to take")
    made.add_argument("--no-rivals", action="store_true", help="leave the others out")
    made.add_argument("--directory", type=Path, help="where to write; the system's temporary one")
    return made.parse_args()


def _measure_all(peers: Sequence[Peer], comparisons: Sequence[Comparison], found: Findings) -> None:
    for comparison in comparisons:
        comparison.measure_ours()
    for peer in peers:
        try:
            for comparison in comparisons:
                comparison.measure_peer(peer)
        except (WorkerEndedError, OSError, subprocess.CalledProcessError) as error:
            found.absent[peer.name] = str(error)


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    arguments = _arguments()
    chosen = () if arguments.no_rivals else arguments.only
    peers = [peer for peer in PEERS if peer.name in chosen]
    found = Findings()
    with workplace(arguments.directory) as (directory, runner):
        comparisons = [
            Comparison(directory, steps, runner, arguments, found) for steps in arguments.steps
        ]
        _measure_all(peers, comparisons, found)
        _report(peers, directory, found, arguments)


def _report(
    peers: Sequence[Peer], directory: Path, found: Findings, arguments: argparse.Namespace
) -> None:
    promises = {f"aiocheckpoint, {place}": promise for place, promise in OURS.items()}
    promises |= {peer.name: peer.promise for peer in peers}
    notes = [ABOUT, *(f"{name}: {promise.in_full()}" for name, promise in promises.items())]
    notes += [f"{name} was not measured: {reason}" for name, reason in found.absent.items()]
    steps = " and ".join(str(number) for number in arguments.steps)
    workload = f"Runs of {steps} steps one after the other, state of {len(small_state())} values"
    more = {
        "promises": {name: promise.as_json() for name, promise in promises.items()},
        "absent": found.absent,
    }
    report = Report(workload, found.pairs, directory, found.versions, found.between, notes)
    report.finish(arguments.json, more)


if __name__ == "__main__":
    main()
