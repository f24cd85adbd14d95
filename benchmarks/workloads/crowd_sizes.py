"""Crowds of any number of runs, on SQLite and on files, beside the floors."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from measure.pairs import Contender, Pair, measure

from workloads.crowd import PROBE, Crowd, affordable, most_open_files
from workloads.file_commits import FileCommits
from workloads.flows import counting_run, database, waiting_run
from workloads.group_commit import GroupCommit
from workloads.waiting import kibibytes_held

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

__all__ = [
    "FILES",
    "OURS",
    "STEPS",
    "CrowdSettings",
    "Figures",
    "measure_size",
    "on_files",
]

Figures: TypeAlias = "dict[str, tuple[str, Sequence[float]]]"

STEPS = 5
OURS = "aiocheckpoint on SQLite"
FILES = "aiocheckpoint on files"

MOST_FILES = 1000
"""The most files whose floor and memory are measured. More are slow, and the same for each."""

MANY_WAITING = 1000
"""From this number of waiting runs on, their memory is measured only once."""

LONG = 5.0
"""From this length in seconds on, a sample is taken only once and without warm-up."""


@dataclass(frozen=True, slots=True)
class CrowdSettings:
    """Where and how crowds are measured.

    Attributes:
        directory: Where they are stored.
        rounds: How many samples each has.
        longest: Seconds that a sample of files may take.
        runner: Has the loop.
        size: How many bytes a snapshot has.
    """

    directory: Path
    rounds: int
    longest: float
    runner: asyncio.Runner
    size: int

    def crowd(self, runs: int, run: Callable[[str], Awaitable[object]]) -> Crowd:
        """Give a crowd. A sample of few runs has several crowds, one after the other."""
        return Crowd(self.runner, runs, STEPS, run, times=times(runs))

    def held(self, name: str, place: str | Path, runs: int) -> Figures:
        """Measure the memory of waiting runs, only once if there are many, as it hardly varies."""
        make = partial(waiting_run, place, STEPS)
        rounds = self.rounds if runs < MANY_WAITING else 1
        samples = [self.runner.run(kibibytes_held(runs, make)) for _ in range(rounds)]
        return {f"memory of a waiting run{name}": ("KiB", samples)}


def times(runs: int) -> int:
    """Give how many crowds a sample has, so that it has at least as many runs as a probe."""
    return max(1, PROBE // runs)


def on_files(settings: CrowdSettings, place: Path, runs: int) -> tuple[Crowd, float]:
    """Give a crowd on files, with fewer runs if they are slow, and the seconds of a sample."""
    run = counting_run(place, STEPS)
    rate = Crowd(settings.runner, min(runs, PROBE), STEPS, run).sample()
    fewer = min(affordable(runs, rate, STEPS, settings.longest), most_open_files())
    return settings.crowd(fewer, run), fewer * STEPS / rate


def measure_size(settings: CrowdSettings, runs: int) -> tuple[list[Pair], Figures]:
    """Measure a crowd of so many runs on SQLite, and one on files, and their memory."""
    with ExitStack() as stack:
        of_rows, rows = _on_sqlite(settings, runs, stack)
        of_files, files = _beside_files(settings, runs, stack)
    return [of_rows, of_files], rows | files


def _on_sqlite(settings: CrowdSettings, runs: int, stack: ExitStack) -> tuple[Pair, Figures]:
    path = settings.directory / f"floor-{runs}.sqlite"
    floor = stack.enter_context(
        closing(GroupCommit(path, runs, STEPS * times(runs), settings.size))
    )
    ours = settings.crowd(
        runs, counting_run(database(settings.directory, f"counting-{runs}"), STEPS)
    )
    name = f"{runs} runs, {OURS}"
    pair = Pair(Contender(name, ours.sample), Contender(f"floor, {runs} rows", floor.sample), "1/s")
    measure([pair], settings.rounds, freeze=False)
    figures: Figures = {f"worst stall, {name}": ("ms", ours.stalls[-settings.rounds :])}
    waiting = database(settings.directory, f"waiting-{runs}")
    return pair, figures | settings.held(f", {name}", waiting, runs)


def _beside_files(settings: CrowdSettings, runs: int, stack: ExitStack) -> tuple[Pair, Figures]:
    place = settings.directory / f"files-{runs}" / "checkpoint.pkl"
    ours, seconds = on_files(settings, place, runs)
    rounds, warm_ups = (1, 0) if seconds > LONG else (settings.rounds, 1)
    floor = stack.enter_context(closing(_files_floor(settings, ours.runs)))
    name = f"{ours.runs} runs, {FILES}"
    pair = Pair(Contender(name, ours.sample), floor.contender, "1/s")
    measure([pair], rounds, warm_ups=warm_ups, freeze=False)
    figures: Figures = {f"worst stall, {name}": ("ms", ours.stalls[-rounds:])}
    if ours.runs <= MOST_FILES:
        waiting = settings.directory / f"waiting-{runs}" / "checkpoint.pkl"
        figures |= settings.held(f", {name}", waiting, ours.runs)
    return pair, figures


def _files_floor(settings: CrowdSettings, runs: int) -> FileCommits:
    """Give the floor of so many runs on files."""
    fewer = min(runs, MOST_FILES)
    place = settings.directory / f"floor-of-{runs}"
    return FileCommits(place, fewer, STEPS * times(fewer), settings.size)
