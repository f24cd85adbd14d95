"""Cost of a step beside that of other libraries that remember what is done, for a small state.

    python benchmarks/rivals.py [--rounds N] [--steps N ...] [--seconds S] [--only NAME ...]
                                [--no-rivals] [--directory DIR] [--json FILE]

The same work for all: runs of 20 and of 5 steps that add one to a number in
`workloads.shapes.small_state`, a dict of ten plain values, one run after the other, each under an
id of its own where there are ids. The steps are coroutines, but with gumly and with `run`, and are
stored before the next one begins wherever the library can do so. What stands in the table is the
time of a whole run by the number of its steps, all that a run costs once included; below it stands
how long it is from one step to the next, as the steps themselves note it.

Each library is installed from PyPI into an environment of its own, and measured in a process of its
own, at the settings of its documentation; see `peers/workers/`. Each is paired with the way of
aiocheckpoint's that is most like it, and the ratio tells how many times as much it costs. The
libraries come one after the other, for some have servers that are never quite idle. What each
promises is printed with the figures: they are of different promises. One that cannot be installed
or started is named with the reason, and the others go on.

A library that is slow has fewer rounds than `--rounds`, as many as are done in `--seconds`, and two
at the least.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from measure.environments import WorkerEndedError
from measure.pairs import Contender, Pair, Report, measure, parser
from page.promises import OURS
from peers.single_runs import ENTRANTS, EntrantWorker
from workloads.alone import our_ways
from workloads.flows import workplace
from workloads.shapes import small_state

if TYPE_CHECKING:
    import argparse
    import asyncio
    from collections.abc import Sequence

    from peers.single_runs import Entrant
    from workloads.alone import Alone

ABOUT = (
    "the figures are whole runs by their steps; what a server does later, when it has answered, is "
    "not in them. Each row of promises is of a step that is done, before the next one begins."
)


@dataclass(slots=True)
class Found:
    """What has been measured so far.

    Attributes:
        pairs: The figures.
        between: From one step to the next, by name.
        versions: What was measured, by name.
        absent: Why a library could not be measured, by name.
    """

    pairs: list[Pair] = field(default_factory=list[Pair])
    between: dict[str, tuple[str, Sequence[float]]] = field(
        default_factory=dict[str, tuple[str, "Sequence[float]"]]
    )
    versions: dict[str, str] = field(default_factory=dict[str, str])
    absent: dict[str, str] = field(default_factory=dict[str, str])

    def note_between(self, name: str, alone: Alone | EntrantWorker, pair: Pair) -> None:
        """Keep the last of what was noted between steps, which are those of the rounds."""
        self.between[f"{name}, between"] = ("µs", alone.between[-len(pair.subject_samples) :])


class Course:
    """Has runs of one number of steps measured.

    Args:
        directory: Where they are stored.
        steps: How many steps a run has.
        runner: Has the loop.
        arguments: How many rounds there are, and how long they may take.
        found: Takes the figures.
    """

    def __init__(
        self,
        directory: Path,
        steps: int,
        runner: asyncio.Runner,
        arguments: argparse.Namespace,
        found: Found,
    ) -> None:
        self._directory = directory
        self._steps = steps
        self._seconds: float = arguments.seconds
        self._most: int = arguments.rounds
        self._found = found
        self._ways = our_ways(directory, steps, runner)

    def measure_ours(self) -> None:
        """Measure both places by both doors."""
        pairs = list[Pair]()
        for door in ("arun", "run"):
            pair = Pair(self._ours(f"local file, {door}"), self._ours(f"SQLite, {door}"), "µs")
            pairs.append(pair)
        measure(pairs, self._most, freeze=False)
        self._found.pairs += pairs
        for way, alone in self._ways.items():
            self._found.note_between(self._title(f"aiocheckpoint, {way}"), alone, pairs[0])

    def measure_entrant(self, entrant: Entrant) -> None:
        """Measure another library beside ours."""
        name = self._title(entrant.name)
        path = self._directory / f"{name.replace(', ', '-').replace(' ', '-')}.store"
        with EntrantWorker(entrant, path, self._steps, small_state()) as worker:
            contender = Contender(name, worker.sample)
            remark = f"promises: {entrant.promise.in_short()}"
            pair = Pair(contender, self._ours(entrant.ours), "µs", remark=remark)
            measure([pair], self._rounds(worker), freeze=False)
            self._found.pairs.append(pair)
            self._found.note_between(name, worker, pair)
            self._found.versions |= worker.versions

    def _rounds(self, worker: EntrantWorker) -> int:
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
    names = [entrant.name for entrant in ENTRANTS]
    made.add_argument("--only", nargs="+", choices=names, default=names, help="libraries to take")
    made.add_argument("--no-rivals", action="store_true", help="leave the others out")
    made.add_argument("--directory", type=Path, help="where to write; the system's temporary one")
    return made.parse_args()


def _measure_all(entrants: Sequence[Entrant], courses: Sequence[Course], found: Found) -> None:
    for course in courses:
        course.measure_ours()
    for entrant in entrants:
        try:
            for course in courses:
                course.measure_entrant(entrant)
        except (WorkerEndedError, OSError, subprocess.CalledProcessError) as error:
            found.absent[entrant.name] = str(error)


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    arguments = _arguments()
    chosen = () if arguments.no_rivals else arguments.only
    entrants = [entrant for entrant in ENTRANTS if entrant.name in chosen]
    found = Found()
    with workplace(arguments.directory) as (directory, runner):
        courses = [Course(directory, steps, runner, arguments, found) for steps in arguments.steps]
        _measure_all(entrants, courses, found)
        _report(entrants, directory, found, arguments)


def _report(
    entrants: Sequence[Entrant], directory: Path, found: Found, arguments: argparse.Namespace
) -> None:
    promises = {f"aiocheckpoint, {place}": promise for place, promise in OURS.items()}
    promises |= {entrant.name: entrant.promise for entrant in entrants}
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
