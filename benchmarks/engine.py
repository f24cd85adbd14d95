"""Costs of what leaves the process: steps that are sent to an executor.

    python benchmarks/engine.py [--rounds N] [--parts NAME ...] [--steps N] [--directory DIR]
                                [--json FILE]

The two sides of a pair are measured in turns. The state has ten plain values, and each step adds 1
to one of them. The store of a run is a SQLite database, where a step is durable before the next
one begins.

The part "steps" sends steps to a `ProcessPoolExecutor` of one spawned process. The base is the sum
of two times: a bare `submit` of the same function and state, of which the changed state comes back,
and the same step without `executor=`, which is called in a thread of this process.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from measure.pairs import Report, measure, parser
from workloads.executor_steps import executor_pair
from workloads.flows import workplace

if TYPE_CHECKING:
    import argparse
    import asyncio
    from collections.abc import Callable

    from measure.pairs import Pair


@dataclass(frozen=True, slots=True)
class Place:
    """What the parts share.

    Attributes:
        runner: Has the loop.
        directory: Where databases are made.
        sizes: The numbers of rounds, steps and such, as the command line gives them.
        stack: Ends what a part has started.
        versions: Versions of what is compared, by name. The parts add to it.
        notes: Sentences that a reader of the figures needs. The parts add to it.
    """

    runner: asyncio.Runner
    directory: Path
    sizes: argparse.Namespace
    stack: ExitStack
    versions: dict[str, str] = field(default_factory=dict[str, str])
    notes: list[str] = field(default_factory=list[str])


def measure_steps(place: Place) -> list[Pair]:
    """Measure steps that are sent to an executor."""
    steps = executor_pair(place.runner, place.directory, place.sizes.steps)
    pair = place.stack.enter_context(steps)
    measure([pair], place.sizes.rounds)
    place.notes.append("The worker of a sent step loads and pickles the state once for each step.")
    return [pair]


PARTS: dict[str, Callable[[Place], list[Pair]]] = {"steps": measure_steps}


def _arguments() -> argparse.Namespace:
    made = parser("Costs of what leaves the process.", rounds=7)
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME")
    made.add_argument("--steps", type=int, default=200, help="steps of a run that are sent")
    made.add_argument("--directory", type=Path, help="where SQLite writes; else a temporary one")
    return made.parse_args()


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    arguments = _arguments()
    with ExitStack() as stack:
        directory, runner = stack.enter_context(workplace(arguments.directory))
        parts = stack.enter_context(ExitStack())
        place = Place(runner, directory, arguments, parts)
        pairs = [pair for name in arguments.parts for pair in PARTS[name](place)]
        workload = "steps of ten plain values, sent away from this process"
        Report(workload, pairs, directory, place.versions, notes=place.notes).finish(arguments.json)


if __name__ == "__main__":
    main()
