"""The cost of looking into a store: the command line, lists, counts, and differences of states.

    python benchmarks/look.py [--rounds N] [--rows N] [--directory DIR] [--json FILE]

The database of `--rows` runs and one of 1,000 runs hold copies of four runs of the library, each
with an id, a header and a footer of its own: finished, failed, paused and queued ones. A command is
a fresh process, from its start to its end. Its time includes that of the interpreter and of all
imports. Its memory is the most that was resident. The bare program does the same by `sqlite3`
alone. `--rows 1000000` makes a database of about 1.6 GB.

The difference is that of two kept snapshots, each of about 440 KB: 2,000 dicts, a datetime, and one
changed row. It is compared with unpickling both.
"""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure.host import keep_bytecode_in
from measure.pairs import Contender, Goal, Pair, Report, measure, parser
from workloads.flows import workplace
from workloads.rows import fill
from workloads.shapes import small_state

from aiocheckpoint import CheckpointFlow, Pause
from aiocheckpoint.look import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

FEW = 1_000
MANY = 1_000_000
"""The goals are for databases of so many runs."""
BUSY = (
    "Other programs kept all cores busy, so that each time is too long. The two sides of a ratio "
    "met the same load."
)
LIST_MILLISECONDS, DIFF_MILLISECONDS = 200, 60
KINDS = {"finished": 90, "failed": 6, "paused": 3, "queued": 1}
"""How many of 100 runs there are of each status."""
BARE = """
import sqlite3
connection = sqlite3.connect("file:{}?mode=ro", uri=True)
for row in connection.execute({!r}):
    print(*row)
"""
# In a process between, as a child begins with the memory of its parent.
MOST_MEMORY = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
LIST = """SELECT run_id, status, step, position, started_at, written_at FROM runs
WHERE flow = 'orders' ORDER BY started_at DESC, run_id DESC LIMIT 50"""
COUNT = "SELECT status, count(*) FROM runs WHERE flow = 'orders' GROUP BY status"


def fill_database(path: Path, count: int) -> None:
    """Make a database of so many runs, of each status a share.

    Args:
        path: The file.
        count: The number of runs, 100 or more.
    """
    flow = CheckpointFlow(f"sqlite:///{path}", name="orders")
    flow.add_step(name="reserve")(_nothing)
    flow.add_step(name="charge")(_charge)
    for kind in ("finished", "failed", "paused"):
        with suppress(ConnectionError):
            flow.run(small_state() | {"kind": kind}, run_id=kind)
    flow.submit(small_state(), run_id="queued")
    flow.handler.close()
    for seed, (kind, share) in enumerate(KINDS.items()):
        fill(path, kind, count * share // 100, seed=seed)


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
        command = [sys.executable, "-c", MOST_MEMORY, *self._words]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        return int(done.stdout) / (2**20 if sys.platform == "darwin" else 2**10)


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


def _large(changed: int) -> dict[str, Any]:
    """Give a state of about 440 KB."""
    rows = [{"id": n, "name": f"item {n} " + "x" * 186, "weight": n / 8} for n in range(2000)]
    rows[1000]["weight"] = changed
    return {"rows": rows, "at": datetime(2026, 11, 30, tzinfo=UTC), "note": "gift", "n": changed}


def _difference(directory: Path) -> Pair:
    """The difference of two kept snapshots, against unpickling both."""
    path = directory / "large.pkl"
    flow = CheckpointFlow(path, keep="all")
    flow.add_step(name="one")(_nothing)
    flow.add_step(name="two")(lambda state: state.update(_large(2)))
    flow.run(_large(1))
    pickled = [pickle.dumps(_large(changed)) for changed in (1, 2)]
    store = open_store(path)
    return Pair(
        Contender(
            f"diff of two states of {len(pickled[0]) // 1000} KB",
            _timed(lambda: store.diff(None, "two", None)),
        ),
        Contender("unpickled, both", _timed(lambda: [*map(pickle.loads, pickled)])),
        "ms",
    )


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    made = parser("The cost of looking into a store.", rounds=15)
    made.add_argument("--rows", type=int, default=100_000, help="the most runs stored")
    made.add_argument("--directory", type=Path, help="where to write; the system's temporary one")
    arguments = made.parse_args()
    rows: int = arguments.rows
    with workplace(arguments.directory) as (directory, _):
        keep_bytecode_in(directory / "bytecode")
        many, few = directory / "many.db", directory / "few.db"
        fill_database(many, rows)
        fill_database(few, FEW)
        difference = _difference(directory)
        pairs = [*_commands(many, few, rows), _count(many, rows), difference]
        measure(pairs, arguments.rounds)
        listed = f"runs --limit 50 of {rows} runs, from start to end"
        compared = f"{difference.subject.name}, alone"
        figures = {
            listed: ("ms", pairs[0].subject_samples),
            compared: ("ms", difference.subject_samples),
        }
        goals = {compared: Goal(DIFF_MILLISECONDS)}
        if rows == MANY:
            goals[listed] = Goal(LIST_MILLISECONDS)
        workload = "Commands on a database, and calls of `aiocheckpoint.look`"
        notes = [BUSY] if os.getloadavg()[0] > (os.cpu_count() or 1) else []
        report = Report(workload, pairs, directory, {}, figures, notes, goals)
        report.finish(arguments.json)


if __name__ == "__main__":
    main()
