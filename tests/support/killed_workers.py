"""Processes that execute many runs while they are killed, and the check of their log."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

import killed_workers_script
from killed_workers_script import STEPS, last_state, run_id

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

LOCATIONS = {"sqlite": "sqlite:///{}/runs.db", "local": "{}/runs/"}


@dataclass
class RunHistory:
    """The history of one run, as the log has it.

    Attributes:
        acknowledged: The number of steps acknowledged.
        begun: The number of steps begun.
        life: The last process that executed it.
        former: The processes that executed it before.
    """

    acknowledged: int = 0
    begun: int = 0
    life: str = ""
    former: set[str] = field(default_factory=set[str])

    def go_on(self, word: str, step: int, life: str, killed: set[str]) -> None:
        """Check that a line of the log may come next."""
        if life != self.life:
            assert word == "begin", "it ends in a process in which it did not begin"
            assert self.life in killed | {""}, "it is in two processes at once"
            assert life not in self.former, "a killed process goes on"
            self.former.add(self.life)
            self.life = life
        if word == "begin":
            assert self.acknowledged <= step, "a step runs again that was acknowledged"
            assert step <= self.begun, "a step was passed over"
            self.begun = max(self.begun, step + 1)
        if word == "ack":
            assert step < self.begun, "a step is acknowledged that did not begin"
            self.acknowledged = step + 1


class History(Protocol):
    """The history of one run, as lines of a log make it."""

    def go_on(self, word: str, step: int, life: str, killed: set[str]) -> None:
        """Check that a line of the log may come next."""


_History = TypeVar("_History", bound=History)


def read_log(log: Path, make: Callable[[], _History]) -> dict[str, _History]:
    """Read the log, and give the history of each run. See `read_lines`."""
    return read_lines(log.read_text("ascii").splitlines(), make)


def read_lines(lines: Iterable[str], make: Callable[[], _History]) -> dict[str, _History]:
    """Read the lines of a log, and give the history of each run.

    A line has a word, a run or "-", a step or "-", and a process. The word "kill" names a process
    that was killed.

    Args:
        lines: The lines.
        make: Makes an empty history.
    """
    histories, killed = dict[str, _History](), set[str]()
    for number, line in enumerate(lines, 1):
        word, run, step, life = line.split(" ")
        if word == "kill":
            killed.add(life)
        if word == "kill" or run == "-":
            continue
        history = histories.setdefault(run, make())
        try:
            history.go_on(word, STEPS.index(step), life, killed)
        except AssertionError as error:
            error.add_note(f"line {number} of the log: {line}; before: {history}")
            raise
    return histories


def check_log(log: Path, runs: int) -> None:
    """Check that each run executed all its steps, and no acknowledged step again."""
    check_lines(log.read_text("ascii").splitlines(), runs)


def check_lines(lines: Iterable[str], runs: int) -> None:
    """Do as `check_log` with the lines of a log."""
    histories = read_lines(lines, RunHistory)
    assert sorted(histories) == sorted(map(run_id, range(runs)))
    assert {history.begun for history in histories.values()} == {len(STEPS)}


def check_stored(place: str, runs: int) -> None:
    """Check that each run ended, once, as an undisturbed one."""
    cp = CheckpointFlow(place, name="swarm")
    headers = cp.runs()
    assert sorted(str(header.run_id) for header in headers) == sorted(map(run_id, range(runs)))
    assert {(header.status, header.number) for header in headers} == {("finished", 1)}
    for number in range(runs):
        assert cp.read(run_id(number)) == {**last_state(number), "checkpoint_index": 0}


def check_left(path: Path, kind: str, runs: int) -> None:
    """Check that the directory holds nothing but the stored snapshots, once it was listed."""
    if kind == "sqlite":
        left = [one.name for one in path.iterdir()]
        assert sorted(left) == ["log", "runs.db"], left
    elif kind == "local":
        names = [one.name for one in (path / "runs").iterdir()]
        assert sorted(names) == sorted(f"{run_id(number)}.pkl" for number in range(runs))


def run_killed_workers(path: Path, kind: str, durable: str, *numbers: int) -> None:
    """Execute runs in processes, and kill each process once a round, until all runs are done.

    Args:
        path: A directory.
        kind: The kind of store, or a URL.
        durable: "fsync" or "no-fsync".
        numbers: The numbers of runs, processes and rounds.
    """
    seed = random.SystemRandom().randrange(1 << 32)
    place = LOCATIONS.get(kind, kind).format(path)
    script = [killed_workers_script.__file__, place, path / "log", durable, *numbers, seed]
    command = [sys.executable, *map(str, script)]
    try:
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 0, done.stderr[-10_000:]
        check_log(path / "log", numbers[0])
        check_stored(place, numbers[0])
        check_left(path, kind, numbers[0])
    except BaseException as error:
        error.add_note(f"the seed of the kills: {seed}")
        raise
