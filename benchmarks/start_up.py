"""Time to import, and time from the start of a process to the step where a flow resumes.

    python benchmarks/start_up.py [--rounds N] [--count N] [--directory DIR] [--json FILE]

Every sample is a fresh interpreter. All of them find the bytecode of a warm-up in a directory of
its own, even if the environment forbids Python to write any. Importing aiocheckpoint is compared
with importing its three dependencies, and the goal is at most 1.6 times their time. The time of
each alone is printed below. Resuming is compared with a bare `dill.load` of the same file. A run on
SQLite is compared with the file of a run with the same state.

The command line is compared with importing the library, each a whole process.

In a running process, such as a service with many runs, the time to resume is measured from the
call of `run` to the begin of the step. It is compared with reading and unpickling the same file.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure.host import keep_bytecode_in
from measure.pairs import Contender, Goal, Pair, Report, measure, parser
from workloads.flows import close_databases, database
from workloads.shapes import dicts, small_state

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Callable

DEPENDENCIES = ("dill", "aiofiles", "anyio")
IMPORT, HELP = Goal(1.6), Goal(1.4)
RESUME = Path(__file__).parent / "workloads" / "resume.py"
TIMED_IMPORT = """
import time
begun = time.perf_counter()
import {}
print((time.perf_counter() - begun) * 1e3)
"""


def _ask(*arguments: str | Path) -> float:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def _import(names: str) -> Contender:
    program = TIMED_IMPORT.format(names)
    return Contender(f"import {names}", lambda: _ask("-c", program))


def _whole(name: str, *words: str) -> Contender:
    """A process from its start to its end."""

    def milliseconds() -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        return (time.perf_counter() - begun) * 1e3

    return Contender(name, milliseconds)


def _arrival(name: str, path: str | Path, way: str) -> Contender:
    def milliseconds() -> float:
        begun = time.perf_counter()
        return (_ask(RESUME, path, way) - begun) * 1e3

    return Contender(name, milliseconds)


def _stop_after_first_step(place: str | Path, state: dict[str, Any], run_id: str | None) -> None:
    """Leave a run as `workloads/resume.py` expects it, of two steps the first done."""
    flow = CheckpointFlow(place)
    for name in ("prepare", "go_on"):
        flow.add_step(name=name)(_nothing)
    flow.run(state, until="prepare", run_id=run_id)


def _nothing(state: dict[str, Any]) -> None:
    """Do nothing."""


class Resuming:
    """Resumes a run at its second step in this process. The run fails there and stays unchanged.

    Args:
        path: The checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._arrived = 0.0
        self._flow = CheckpointFlow(path)
        self._flow.add_step(name="prepare")(_nothing)
        self._flow.add_step(name="go_on")(self._arrive)

    def sample(self) -> float:
        """Give the milliseconds from the call to the begin of the step."""
        begun = time.perf_counter()
        with suppress(_ArrivedError):
            self._flow.run()
        return (self._arrived - begun) * 1e3

    def load(self) -> float:
        """Give the milliseconds to read and unpickle the same file."""
        begun = time.perf_counter()
        with self._path.open("rb") as file:
            pickle.load(file)
        return (time.perf_counter() - begun) * 1e3

    def _arrive(self, state: dict[str, Any]) -> None:
        self._arrived = time.perf_counter()
        raise _ArrivedError


class _ArrivedError(Exception):
    """Fails the step, so that the stored run stays unchanged."""


def _resumptions(directory: Path, count: int) -> list[Pair]:
    makers: dict[str, Callable[[], dict[str, Any]]] = {
        "small state": small_state,
        f"{count} dicts": lambda: dicts(count),
    }
    pairs = list[Pair]()
    for number, (what, make) in enumerate(makers.items()):
        path, url = directory / f"{number}.pkl", database(directory, str(number))
        _stop_after_first_step(path, make(), None)
        _stop_after_first_step(url, make(), "order")
        by_dill = _arrival("process to loaded by dill", path, "dill")
        here = Resuming(path)
        pairs += [
            Pair(_arrival(f"process to step, {what}", path, "ours"), by_dill, "ms"),
            Pair(_arrival(f"process to step, {what}, SQLite", url, "row"), by_dill, "ms"),
            Pair(
                Contender(f"run to step, {what}", here.sample),
                Contender(f"read and unpickled, {what}", here.load),
                "ms",
            ),
        ]
    close_databases(directory)
    return pairs


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    made = parser("Time to import and to resume.", rounds=30)
    made.add_argument("--count", type=int, default=100_000, help="objects in the large state")
    made.add_argument("--directory", type=Path, help="where to write; the system's temporary one")
    arguments = made.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        directory = Path(name)
        keep_bytecode_in(directory / "bytecode")
        imports = Pair(_import("aiocheckpoint"), _import(", ".join(DEPENDENCIES)), "ms", IMPORT)
        command = Pair(
            _whole("aiocheckpoint --help", "-m", "aiocheckpoint", "--help"),
            _whole("python -c 'import aiocheckpoint'", "-c", "import aiocheckpoint"),
            "ms",
            HELP,
        )
        pairs = [imports, command, *_resumptions(directory, arguments.count)]
        measure(pairs, arguments.rounds)
        alone = {one.name: one for one in map(_import, DEPENDENCIES)}
        figures = {
            name: ("ms", [one.sample() for _ in range(arguments.rounds)])
            for name, one in alone.items()
        }
        workload = "Fresh interpreters, and this one"
        Report(workload, pairs, directory, extra=figures).finish(arguments.json)


if __name__ == "__main__":
    main()
