"""Time to import, and time from the start of a process to the step where a flow goes on.

    python benchmarks/start_up.py [--rounds N] [--count N] [--directory DIR] [--json FILE]

Every sample is a fresh interpreter; all of them find the bytecode that a warm-up has left in a
directory of its own, whether or not the environment lets Python write any. Importing aiocheckpoint
is compared with importing the three libraries it stands on, and resuming with nothing but
`dill.load` of the same file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _measure import Contender, Pair, Report, measure, parser
from _shapes import dicts, small_state

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Callable

DEPENDENCIES = "dill, aiofiles, anyio"
RESUME = Path(__file__).with_name("_resume.py")
TIMED_IMPORT = """
import time
begun = time.perf_counter()
import {}
print((time.perf_counter() - begun) * 1e3)
"""


def _keep_bytecode_in(directory: Path) -> None:
    os.environ["PYTHONPYCACHEPREFIX"] = str(directory)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _ask(*arguments: str | Path) -> float:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def _import(names: str) -> Contender:
    program = TIMED_IMPORT.format(names)
    return Contender(f"import {names}", lambda: _ask("-c", program))


def _arrival(name: str, path: Path, way: str) -> Contender:
    def milliseconds() -> float:
        begun = time.perf_counter()
        return (_ask(RESUME, path, way) - begun) * 1e3

    return Contender(name, milliseconds)


def _stop_after_first_step(path: Path, state: dict[str, Any]) -> None:
    """Leave a checkpoint as `_resume.py` expects it, of two steps the first done."""
    flow = CheckpointFlow(path)
    for name in ("prepare", "go_on"):
        flow.add_step(name=name)(_nothing)
    flow.run(state, until="prepare")


def _nothing(state: dict[str, Any]) -> None:
    """Do nothing."""


def _resumptions(directory: Path, count: int) -> list[Pair]:
    makers: dict[str, Callable[[], dict[str, Any]]] = {
        "small state": small_state,
        f"{count} dicts": lambda: dicts(count),
    }
    pairs = list[Pair]()
    for number, (what, make) in enumerate(makers.items()):
        path = directory / f"{number}.pkl"
        _stop_after_first_step(path, make())
        ours = _arrival(f"process to step, {what}", path, "ours")
        pairs.append(Pair(ours, _arrival("process to loaded by dill", path, "dill"), "ms"))
    return pairs


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    made = parser("Time to import and to resume.", rounds=30)
    made.add_argument("--count", type=int, default=100_000, help="objects in the large state")
    made.add_argument("--directory", type=Path, help="where to write; the system's temporary one")
    arguments = made.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        directory = Path(name)
        _keep_bytecode_in(directory / "bytecode")
        pairs = [
            Pair(_import("aiocheckpoint"), _import(DEPENDENCIES), "ms"),
            *_resumptions(directory, arguments.count),
        ]
        measure(pairs, arguments.rounds)
        Report("Fresh interpreters", pairs, directory).finish(arguments.json)


if __name__ == "__main__":
    main()
