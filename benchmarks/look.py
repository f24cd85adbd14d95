"""The cost of looking into a store: the command line, lists and counts.

    python benchmarks/look.py [--rounds N] [--rows N] [--directory DIR] [--json FILE]

The database of `--rows` runs and one of 1,000 runs hold copies of four runs of the library, each
with an id, a header and a footer of its own: finished, failed, paused and queued ones. A command is
a fresh process, from its start to its end. Its time includes that of the interpreter and of all
imports. Its memory is the most that was resident. The bare program does the same by `sqlite3`
alone. `--rows 1000000` makes a database of about 1.2 GB.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure.host import keep_bytecode_in
from measure.pairs import Contender, Goal, Pair, Report, measure, parser
from workloads.flows import database, workplace
from workloads.rows import fill
from workloads.shapes import small_state

from aiocheckpoint import CheckpointFlow, Pause
from aiocheckpoint.look import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

FEW = 1_000
MANY = 1_000_000
"""The goals are for databases of so many runs."""
LIST_MILLISECONDS = 200
KINDS = {"finished": 90, "failed": 6, "paused": 3, "queued": 1}
"""How many of 100 runs there are of each status."""
BARE = """
import sqlite3
connection = sqlite3.connect("file:{}?mode=ro", uri=True)
for row in connection.execute({!r}):
    print(*row)
"""
LIST = """SELECT run_id, status, step, position, started_at, written_at FROM runs
WHERE flow = 'orders' ORDER BY started_at DESC, run_id DESC LIMIT 50"""
COUNT = "SELECT status, count(*) FROM runs WHERE flow = 'orders' GROUP BY status"


def fill_database(directory: Path, count: int) -> Path:
    """Make a database of so many runs, of each status a share.

    Args:
        directory: Where it is made.
        count: The number of runs, 100 or more.

    Returns:
        The file.
    """
    flow = CheckpointFlow(database(directory, f"{count}-runs"), name="orders")
    flow.add_step(name="reserve")(_nothing)
    flow.add_step(name="charge")(_charge)
    for kind in ("finished", "failed", "paused"):
        with suppress(ConnectionError):
            flow.run(small_state() | {"kind": kind}, run_id=kind)
    flow.submit(small_state(), run_id="queued")
    flow.handler.close()
    path = directory / f"{count}-runs.db"
    for seed, (kind, share) in enumerate(KINDS.items()):
        fill(path, kind, count * share // 100, seed=seed)
    return path


def _nothing(state: dict[str, Any]) -> None:
    """Do nothing."""


def _charge(state: dict[str, Any]) -> None:
    if state["kind"] == "failed":
        raise ConnectionError("no answer from the bank")
    if state["kind"] == "paused":
        raise Pause("waiting for approval")


class Command:
    """A process, from its start to its end.

    Args:
        words: The words of its command line, behind that of the interpreter.
    """

    def __init__(self, *words: str | Path) -> None:
        self._words = [sys.executable, *map(str, words)]

    def milliseconds(self) -> float:
        """Give the time from its start to its end."""
        begun = time.perf_counter()
        subprocess.run(self._words, check=True, stdout=subprocess.DEVNULL)
        return (time.perf_counter() - begun) * 1e3

    def megabytes(self) -> float:
        """Give the most resident memory, in MiB."""
        with subprocess.Popen(self._words, stdout=subprocess.DEVNULL) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _bare(path: Path, statement: str) -> Command:
    return Command("-c", BARE.format(path, statement))


def _commands(many: Path, few: Path, rows: int) -> list[Pair]:
    """The commands on many runs, against those on few and against bare programs."""
    listing, counting = ("runs", "--limit", "50"), ("count", "--by", "status")
    on_many, on_few = (Command("-m", "aiocheckpoint", *listing, path) for path in (many, few))
    counted = Command("-m", "aiocheckpoint", *counting, many)
    listed, name = Contender(f"runs --limit 50, {rows} runs", on_many.milliseconds), "the same"
    bare = "bare Python and sqlite3"
    return [
        Pair(
            listed,
            Contender(f"{name}, {FEW} runs", on_few.milliseconds),
            "ms",
            Goal(1.5) if rows == MANY else None,
        ),
        Pair(listed, Contender(bare, _bare(many, LIST).milliseconds), "ms"),
        Pair(
            Contender(f"runs --limit 50, {rows} runs, memory", on_many.megabytes),
            Contender(f"{name}, {FEW} runs, memory", on_few.megabytes),
            "MiB",
            Goal(1.1),
        ),
        Pair(
            Contender(f"count --by status, {rows} runs", counted.milliseconds),
            Contender(bare, _bare(many, COUNT).milliseconds),
            "ms",
        ),
    ]


def _count(path: Path, rows: int) -> Pair:
    """The count in this process, against the bare statement."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)

    def bare() -> object:
        return connection.execute(COUNT).fetchall()

    store = open_store(path)
    return Pair(
        Contender(f"count of {rows} runs by status", _timed(lambda: store.count(("status",)))),
        Contender("the bare statement", _timed(bare)),
        "ms",
        Goal(2) if rows == MANY else None,
    )


def _timed(work: Callable[[], object]) -> Callable[[], float]:
    def milliseconds() -> float:
        begun = time.perf_counter()
        work()
        return (time.perf_counter() - begun) * 1e3

    return milliseconds


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    made = parser("The cost of looking into a store.", rounds=15)
    made.add_argument("--rows", type=int, default=100_000, help="the most runs stored")
    made.add_argument("--directory", type=Path, help="where to write; the system's temporary one")
    arguments = made.parse_args()
    rows: int = arguments.rows
    with workplace(arguments.directory) as (directory, _):
        keep_bytecode_in(directory / "bytecode")
        many, few = (fill_database(directory, count) for count in (rows, FEW))
        pairs = [*_commands(many, few, rows), _count(many, rows)]
        measure(pairs, arguments.rounds)
        listed = f"runs --limit 50 of {rows} runs, from start to end"
        figures = {listed: ("ms", pairs[0].subject_samples)}
        goals = {listed: Goal(LIST_MILLISECONDS)} if rows == MANY else {}
        workload = "Commands on a database, and calls of `aiocheckpoint.look`"
        Report(workload, pairs, directory, {}, figures, goals=goals).finish(arguments.json)


if __name__ == "__main__":
    main()
