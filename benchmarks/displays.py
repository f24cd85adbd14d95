"""The cost of displays and of progress: with nobody listening, and of the cards of a notebook.

    python benchmarks/displays.py [--rounds N] [--steps N] [--runs N] [--base DIR]
                                  [--instructions] [--directory DIR] [--json FILE]

`--base` is the folder of an older library, the `src` of a checkout. The CPU time of a step is then
compared with it, by `run`, without a flush, on a file system in memory where Linux has one. Each
sample is a process of its own. With `--instructions`, valgrind counts the instructions of a step as
well, which do not depend on other work of the machine.

`progress` is called 10,000 times in a step. The base is a call of an empty function with the same
arguments. Beside a listener the events are limited to ten a second. These are CPU times.

The cards are shown in a kernel, as in a notebook: one of a run of 1,000 short durable steps, and
one of 200 runs at once on SQLite, five steps each. The base is the same without a card.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure.host import keep_bytecode_in
from measure.pairs import Contender, Goal, Pair, Report, measure, parser
from workloads.flows import workplace
from workloads.kernel import Kernel
from workloads.step_worker import STEPS

import aiocheckpoint
from aiocheckpoint import CheckpointFlow, current_step

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
SOURCE = Path(aiocheckpoint.__file__).parents[1]
BUSY = (
    "Other programs kept all cores busy, so that each time is too long. The two sides of a ratio "
    "met the same load."
)
MEMORY = "/dev/shm"  # noqa: S108 - in a temporary directory there
CALLS = 10_000
RUNS_OF_A_SAMPLE = 20
CARD = Goal(1.02)
OWN = "CPU time of a step, by how much more than before"
CALL = "progress(), nobody listens, alone"
GOALS = {OWN: Goal(1), CALL: Goal(1000)}
"""In microseconds and nanoseconds."""
IN_KERNEL = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from workloads.shown_runs import ManyRuns, OneRun
one, many = OneRun(Path({directory!r}), {steps}), ManyRuns(Path({directory!r}), {runs})
"""


class StepProcess:
    """A process that measures the CPU time of a step.

    Args:
        source: The folder of the library.
        directory: Where it writes.
    """

    def __init__(self, source: Path, directory: Path) -> None:
        self._directory = directory
        self._environment = os.environ | {"PYTHONPATH": str(source), "PYTHONHASHSEED": "0"}

    def microseconds(self) -> float:
        """Give the CPU time of a step."""
        return float(self._run([], RUNS_OF_A_SAMPLE).stdout)

    def instructions(self) -> int:
        """Count the instructions of a step."""
        few, more = (self._counted(runs) for runs in (2, 2 + RUNS_OF_A_SAMPLE))
        return (more - few) // (RUNS_OF_A_SAMPLE * STEPS)

    def _counted(self, runs: int) -> int:
        counts = self._directory / "callgrind"
        words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}"]
        done = self._run(words, runs)
        found = re.search(r"Collected : (\d+)", done.stderr)
        assert found is not None, done.stderr
        return int(found[1])

    def _run(self, words: list[str], runs: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workloads.step_worker", self._directory, runs]
        return subprocess.run(
            [*words, *map(str, command)],
            cwd=HERE,
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        )


def _bare(done: float, total: float) -> None:
    """Do nothing."""


class ProgressCalls:
    """Calls `progress` in a step, and a function that does nothing.

    Args:
        path: Where the flow is stored.
    """

    def __init__(self, path: Path) -> None:
        self._flow = CheckpointFlow(path, fsync=False)
        self._taken = 0.0
        self._flow.add_step(name="loop")(self._loop)

    def unheard(self) -> float:
        """Give the nanoseconds of CPU time of a call with nobody listening."""
        self._flow.run({})
        return self._taken

    def heard(self) -> float:
        """Give those of a call beside one listener."""
        with self._flow.watch():
            return self.unheard()

    def bare(self) -> float:
        """Give those of a call of the function that does nothing."""
        return _nanoseconds(_bare)

    def _loop(self, state: dict[str, Any]) -> None:
        self._taken = _nanoseconds(current_step().progress)


def _nanoseconds(call: Callable[[float, float], None]) -> float:
    begun = time.thread_time()
    for number in range(CALLS):
        call(number, CALLS)
    return (time.thread_time() - begun) / CALLS * 1e9


def _calls(directory: Path) -> list[Pair]:
    calls = ProgressCalls(directory / "calls.pkl")
    unheard = Contender("progress(), nobody listens", calls.unheard)
    return [
        Pair(unheard, Contender("a call of an empty function", calls.bare), "ns"),
        Pair(Contender("progress(), one watch", calls.heard), unheard, "ns"),
    ]


def _cards(kernel: Kernel, steps: int, runs: int) -> list[Pair]:
    """One run and many with a card, against the same without, by time and by CPU time."""
    named = {"one": f"run of {steps} steps", "many": f"{runs} runs at once"}
    pairs: list[Pair] = []
    for what, name in named.items():
        for figure, words, goal in (("time", "", CARD), ("cpu", ", CPU time", None)):
            with_card, without = (
                Contender(f"{name}, {shown}{words}", _in(kernel, what, word, figure))
                for shown, word in (("with a card", "card"), ("without", "none"))
            )
            pairs.append(Pair(with_card, without, "ms", goal))
    return pairs


def _in(kernel: Kernel, what: str, word: str, figure: str) -> Callable[[], float]:
    cell = f"print({what}.sample({word!r}).{figure})"
    return lambda: float(kernel.printed(cell))


def _against(base: Path, memory: Path) -> Pair:
    now, before = StepProcess(SOURCE, memory), StepProcess(base, memory)
    return Pair(
        Contender("CPU time of a step, nobody listens", now.microseconds),
        Contender("the same by the older library", before.microseconds),
        "µs",
    )


def _extra(
    pairs: list[Pair], against: Pair | None, counted: dict[str, int]
) -> dict[str, tuple[str, list[float]]]:
    unheard = next(pair for pair in pairs if pair.base.name == "a call of an empty function")
    found = {CALL: ("ns", unheard.subject_samples)}
    if against is not None:
        sides = zip(against.subject_samples, against.base_samples, strict=True)
        found[OWN] = ("µs", [now - before for now, before in sides])
    return found | {name: ("", [float(count)]) for name, count in counted.items()}


def _count(base: Path, memory: Path) -> dict[str, int]:
    return {
        "instructions of a step, nobody listens": StepProcess(SOURCE, memory).instructions(),
        "instructions of a step, older library": StepProcess(base, memory).instructions(),
    }


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    made = parser("The cost of displays and of progress.", rounds=15)
    made.add_argument("--steps", type=int, default=1000, help="steps of the one run")
    made.add_argument("--runs", type=int, default=200, help="runs at once")
    made.add_argument("--base", type=Path, metavar="DIR", help="the folder of an older library")
    made.add_argument("--instructions", action="store_true", help="count by valgrind, with --base")
    made.add_argument("--directory", type=Path, help="where to write; the system's temporary one")
    arguments = made.parse_args()
    with workplace(arguments.directory) as (directory, _), ExitStack() as stack:
        memory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_in_memory())))
        keep_bytecode_in(directory / "bytecode")
        kernel = stack.enter_context(Kernel())
        facts = {"here": str(HERE), "directory": str(directory)}
        kernel.printed(IN_KERNEL.format(**facts, steps=arguments.steps, runs=arguments.runs))
        against = _against(arguments.base, memory) if arguments.base else None
        pairs = [*_calls(directory), *_cards(kernel, arguments.steps, arguments.runs)]
        pairs += [] if against is None else [against]
        measure(pairs, arguments.rounds)
        counted = _count(arguments.base, memory) if arguments.instructions else {}
        kernel.printed("many.close()")
        figures = _extra(pairs, against, counted)
        goals = {name: goal for name, goal in GOALS.items() if name in figures}
        workload = "Steps with nobody listening, calls of `progress`, and runs with a card"
        notes = [BUSY] if os.getloadavg()[0] > (os.cpu_count() or 1) else []
        report = Report(workload, pairs, directory, {}, figures, notes, goals)
        report.finish(arguments.json)


def _in_memory() -> str | None:
    return MEMORY if Path(MEMORY).is_dir() else None


if __name__ == "__main__":
    main()
