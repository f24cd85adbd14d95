"""Time, memory and stalls of one durable step whose state is large.

    python benchmarks/large_state.py [--rounds N] [--largest MB] [--count N] [--directory DIR]
                                     [--json FILE]

The state is one array of numpy, of 1 MB and then always four times as large (bytes, where numpy is
missing), or many plain dicts. A step is timed from the end of the step that put the array into the
state to the begin of the next step: serialising, digest, file, fsync, rename. Right before or
after, bare calls write as many bytes in the same directory and sync them. For `arun` they do so in
one thread beside the loop.

Memory is measured in processes of their own, as the growth of the peak resident memory during the
step. The array itself was allocated before. Stalls are measured by a task that sleeps for a
millisecond, over and over, during the step. A stall is the delay of its wake-up, and the longest of
each sample counts. The many objects are compared with one call of the C pickler in a thread, which
holds the GIL from its begin to its end.

The goals of time and memory are about the largest array: 256 MB, or 1 GB by `--largest 1024`, which
takes four times as long and as much memory.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from measure.pairs import Contender, Goal, Pair, Report, measure, parser
from workloads.large import HAS_NUMPY, MEGABYTE, Bare, OneWrite, array
from workloads.shapes import dicts

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

Figures: TypeAlias = "dict[str, tuple[str, Sequence[float]]]"

METHODS = ("arun", "run")
TIME, MEMORY, STALL = Goal(1.3), Goal(5), Goal(50)
PEAK = "workloads.peak"
HERE = Path(__file__).parent
ABOUT_MEMORY = (
    "memory: by how much the most that was resident at once grew during the step, in a process of "
    "its own that had the array before; in percent of the array."
)
ABOUT_STALLS = (
    "stalls: how much longer than a millisecond a task was away that sleeps for one, at worst; "
    "other processes of the machine stall it too, as beside the bare write."
)


def _sizes(largest: int) -> Iterator[int]:
    """Megabytes: 1 and then always four times as many, up to the largest."""
    size = 1
    while size <= largest:
        yield size
        size *= 4


class Sized:
    """The writes and the figures of one size of array.

    Args:
        directory: Where it is written.
        megabytes: The size.
        runner: Has the loop.
        largest: Whether the goals are about it.
    """

    def __init__(
        self, directory: Path, megabytes: int, runner: asyncio.Runner, *, largest: bool
    ) -> None:
        self.name = f"{megabytes} MB"
        self._size = megabytes * MEGABYTE
        self._directory = directory
        self._runner = runner
        self._largest = largest
        value = array(self._size)
        self._ours = OneWrite(directory / f"{megabytes}.pkl", value)
        self._bare = Bare(directory / f"{megabytes}.bare", value)

    def pairs(self) -> list[Pair]:
        """Pair `arun` and `run` with the bare write."""
        ours, bare, run = self._ours, self._bare, self._runner.run
        goal = TIME if self._largest else None
        return [
            Pair(
                Contender(f"{self.name}, arun", lambda: run(ours.by_arun())),
                Contender(f"bare write of {self.name} in a thread", lambda: run(bare.in_thread())),
                "ms",
                goal,
            ),
            Pair(
                Contender(f"{self.name}, run", ours.by_run),
                Contender(f"bare write of {self.name}", bare.write),
                "ms",
                goal,
            ),
        ]

    def figures(self, rounds: int) -> Figures:
        """Give stalls of the kept rounds, and memory by `arun` and `run`."""
        found: Figures = {
            f"worst stall, {self.name}": ("ms", self._ours.stalls[-rounds:]),
            f"worst stall, bare write of {self.name}": ("ms", self._bare.stalls[-rounds:]),
        }
        for method in METHODS:
            percents = [self._percent(method) for _ in range(min(rounds, 3))]
            found[self._memory_name(method)] = ("%", percents)
        return found

    def goals(self) -> dict[str, Goal]:
        """Give the limits of the figures."""
        if not self._largest:
            return {}
        return {self._memory_name(method): MEMORY for method in METHODS}

    def _memory_name(self, method: str) -> str:
        return f"extra memory, {self.name}, {method}"

    def _percent(self, method: str) -> float:
        place = str(self._directory.resolve())
        command = [sys.executable, "-m", PEAK, place, method, str(self._size)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=HERE)
        return float(done.stdout) / self._size * 100


class Objects:
    """Many small objects, by `arun` and by one call of the C pickler in a thread."""

    def __init__(self, directory: Path, count: int, runner: asyncio.Runner) -> None:
        self._name = f"{count} dicts"
        self._run = runner.run
        state = dicts(count)
        self._ours = OneWrite(directory / "objects.pkl", state)
        self._bare = Bare(directory / "objects.bare", state, pickled=True)

    def pair(self) -> Pair:
        """Pair a step with one call of the C pickler."""
        ours, bare, run = self._ours, self._bare, self._run
        return Pair(
            Contender(f"{self._name}, arun", lambda: run(ours.by_arun())),
            Contender(f"C pickler and bare write of {self._name}", lambda: run(bare.in_thread())),
            "ms",
        )

    def figures(self, rounds: int) -> Figures:
        """Give the stalls of the kept rounds."""
        return {
            self.stall: ("ms", self._ours.stalls[-rounds:]),
            f"worst stall, C pickler of {self._name}": ("ms", self._bare.stalls[-rounds:]),
        }

    @property
    def stall(self) -> str:
        """Name of the figure that has the goal."""
        return f"worst stall, {self._name}"


def _arguments() -> argparse.Namespace:
    made = parser("One durable step whose state is large.", rounds=5)
    made.add_argument("--largest", type=int, default=256, metavar="MB", help="the largest array")
    made.add_argument("--count", type=int, default=600_000, help="dicts of three values each")
    made.add_argument("--directory", type=Path, help="where to write; the system's temporary one")
    return made.parse_args()


def _measured(arguments: argparse.Namespace, directory: Path, runner: asyncio.Runner) -> Report:
    sizes = list(_sizes(arguments.largest))
    arrays = [Sized(directory, size, runner, largest=size == sizes[-1]) for size in sizes]
    objects = Objects(directory, arguments.count, runner)
    pairs = [pair for one in arrays for pair in one.pairs()] + [objects.pair()]
    measure(pairs, arguments.rounds, freeze=False)
    figures, goals = objects.figures(arguments.rounds), {objects.stall: STALL}
    for one in arrays:
        figures |= one.figures(arguments.rounds)
        goals |= one.goals()
    workload = f"One durable step, state of one array{'' if HAS_NUMPY else ' (bytes)'} or of dicts"
    versions = {"numpy": version("numpy")} if HAS_NUMPY else {}
    notes = [ABOUT_MEMORY, ABOUT_STALLS]
    return Report(workload, pairs, directory, versions, figures, notes, goals)


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    arguments = _arguments()
    # It warns of each large state.
    logging.getLogger("aiocheckpoint").setLevel(logging.ERROR)
    with ExitStack() as stack:
        place = tempfile.TemporaryDirectory(dir=arguments.directory)
        directory = Path(stack.enter_context(place))
        runner = stack.enter_context(asyncio.Runner())
        _measured(arguments, directory, runner).finish(arguments.json)


if __name__ == "__main__":
    main()
