"""Crowds of any number of runs, on SQLite and on files, beside what the disk can do at most."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from measure.pairs import Contender, Pair, measure
from peers.concurrent_runs import PROBE, affordable

from workloads.crowd import Crowd, most_open_files
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
    "Figures",
    "Site",
    "measure_size",
    "on_files",
]

Figures: TypeAlias = "dict[str, tuple[str, Sequence[float]]]"

STEPS = 5
OURS = "aiocheckpoint on SQLite"
FILES = "aiocheckpoint on files"

MOST_FILES = 1000
"""Of more files the floor and the memory are not measured: they are the same for each, and slow."""

MANY_WAITING = 1000
"""So many runs that wait that their memory is measured but once."""

LONG = 5.0
"""Seconds of a sample from which on it is taken but once, and nothing before it."""


@dataclass(frozen=True, slots=True)
class Site:
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
        """Give a crowd; of few runs there are several in a sample, one after the other."""
        return Crowd(self.runner, runs, STEPS, run, times=times(runs))

    def held(self, name: str, place: str | Path, runs: int) -> Figures:
        """Measure the memory of runs that wait; once where they are many, for it hardly varies."""
        make = partial(waiting_run, place, STEPS)
        rounds = self.rounds if runs < MANY_WAITING else 1
        samples = [self.runner.run(kibibytes_held(runs, make)) for _ in range(rounds)]
        return {f"memory of a waiting run{name}": ("KiB", samples)}


def times(runs: int) -> int:
    """Give how many crowds a sample has, so that it has at least as many runs as a probe."""
    return max(1, PROBE // runs)


def on_files(site: Site, place: Path, runs: int) -> tuple[Crowd, float]:
    """Give a crowd on files, of fewer runs where they are slow, and the seconds of a sample."""
    run = counting_run(place, STEPS)
    rate = Crowd(site.runner, min(runs, PROBE), STEPS, run).sample()
    fewer = min(affordable(runs, rate, STEPS, site.longest), most_open_files())
    return site.crowd(fewer, run), fewer * STEPS / rate


def measure_size(site: Site, runs: int) -> tuple[list[Pair], Figures]:
    """Measure a crowd of so many runs on SQLite, and one on files, and their memory."""
    with ExitStack() as stack:
        of_rows, rows = _on_sqlite(site, runs, stack)
        of_files, files = _beside_files(site, runs, stack)
    return [of_rows, of_files], rows | files


def _on_sqlite(site: Site, runs: int, stack: ExitStack) -> tuple[Pair, Figures]:
    path = site.directory / f"floor-{runs}.sqlite"
    floor = stack.enter_context(closing(GroupCommit(path, runs, STEPS * times(runs), site.size)))
    ours = site.crowd(runs, counting_run(database(site.directory, f"counting-{runs}"), STEPS))
    name = f"{runs} runs, {OURS}"
    pair = Pair(Contender(name, ours.sample), Contender(f"floor, {runs} rows", floor.sample), "1/s")
    measure([pair], site.rounds, freeze=False)
    figures: Figures = {f"worst stall, {name}": ("ms", ours.stalls[-site.rounds :])}
    waiting = database(site.directory, f"waiting-{runs}")
    return pair, figures | site.held(f", {name}", waiting, runs)


def _beside_files(site: Site, runs: int, stack: ExitStack) -> tuple[Pair, Figures]:
    place = site.directory / f"files-{runs}" / "checkpoint.pkl"
    ours, seconds = on_files(site, place, runs)
    rounds, warm_ups = (1, 0) if seconds > LONG else (site.rounds, 1)
    floor = stack.enter_context(closing(_files_floor(site, ours.runs)))
    name = f"{ours.runs} runs, {FILES}"
    pair = Pair(Contender(name, ours.sample), floor.contender, "1/s")
    measure([pair], rounds, warm_ups=warm_ups, freeze=False)
    figures: Figures = {f"worst stall, {name}": ("ms", ours.stalls[-rounds:])}
    if ours.runs <= MOST_FILES:
        waiting = site.directory / f"waiting-{runs}" / "checkpoint.pkl"
        figures |= site.held(f", {name}", waiting, ours.runs)
    return pair, figures


def _files_floor(site: Site, runs: int) -> FileCommits:
    """Give the floor of so many runs on files."""
    fewer = min(runs, MOST_FILES)
    place = site.directory / f"floor-of-{runs}"
    return FileCommits(place, fewer, STEPS * times(fewer), site.size)
