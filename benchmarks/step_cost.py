"""Cost of one step whose snapshot is durable, for a small state.

    python benchmarks/step_cost.py [--rounds N] [--steps N] [--directory DIR] [--no-gumly]
                                   [--json FILE]

The state is `_shapes.small_state`, a dict of ten plain values; each step adds one to a number in
it. A run of the flow has `--steps` such steps; its time divided by their number is the cost of a
step, so what a run costs once (lock, read, plan, first snapshot) is in it, shared by all steps;
that fixed cost is also printed by itself, as a run of one step less the cost of a step. The floors
make as many replacements as there are steps, see `_floor.py`. gumly runs the same step as often,
on the same interpreter and in the same directory, in a process of its own.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _floor import Floor
from _gumly import GumlyWorker, install
from _measure import Contender, Goal, Pair, Report, measure, parser
from _shapes import small_state

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


class Ours:
    """Runs flows of ours in one directory and times them."""

    def __init__(self, directory: Path, runner: asyncio.Runner) -> None:
        self._directory = directory
        self._runner = runner

    def run(self, steps: int, *, fsync: bool = True) -> Callable[[], float]:
        """Make a timer of `run` with sync steps: seconds for a whole run."""
        flow = self._flow(_count, f"run-{steps}-{fsync}.pkl", steps, fsync=fsync)

        def seconds() -> float:
            state = small_state()
            begun = time.perf_counter()
            flow.run(state)
            taken = time.perf_counter() - begun
            assert state["count"] == steps
            return taken

        return seconds

    def arun(self, steps: int) -> Callable[[], float]:
        """Make a timer of `arun` with coroutine steps: seconds for a whole run."""
        flow = self._flow(_acount, f"arun-{steps}.pkl", steps, fsync=True)

        async def seconds() -> float:
            state = small_state()
            begun = time.perf_counter()
            await flow.arun(state)
            taken = time.perf_counter() - begun
            assert state["count"] == steps
            return taken

        return lambda: self._runner.run(seconds())

    def _flow(
        self, step: Callable[..., object], name: str, steps: int, *, fsync: bool
    ) -> CheckpointFlow:
        flow = CheckpointFlow(self._directory / name, fsync=fsync)
        for number in range(steps):
            flow.add_step(name=f"step {number}")(step)
        return flow


def _count(state: dict[str, Any], data: dict[str, Any]) -> None:
    state["count"] += 1


async def _acount(state: dict[str, Any], data: dict[str, Any]) -> None:
    state["count"] += 1


def _per_step(name: str, seconds: Callable[[], float], steps: int) -> Contender:
    return Contender(name, lambda: seconds() * 1e6 / steps)


def _durable_pairs(ours: Ours, floor: Floor, runner: asyncio.Runner, steps: int) -> list[Pair]:
    arun = _per_step("arun, coroutine step", ours.arun(steps), steps)
    run = _per_step("run, sync step", ours.run(steps), steps)
    hop = _per_step("floor with one hop", lambda: runner.run(floor.with_hop()), steps)
    plain = _per_step("floor without hop", floor.without_hop, steps)
    calls = _per_step("bare system calls", floor.system_calls, steps)
    return [
        Pair(arun, hop, "µs", Goal(1.3)),
        Pair(run, plain, "µs", Goal(1.25)),
        Pair(plain, calls, "µs"),
    ]


def _hasty_pairs(ours: Ours, floor: Floor, gumly: GumlyWorker | None, steps: int) -> list[Pair]:
    run = _per_step("run, sync step, fsync=False", ours.run(steps, fsync=False), steps)
    plain = _per_step("floor without hop, without fsync", floor.without_fsync, steps)
    pairs = [Pair(run, plain, "µs")]
    if gumly is not None:
        pairs.append(Pair(run, _per_step("gumly", gumly.seconds, steps), "µs", Goal(0.6)))
    return pairs


def _fixed_costs(ours: Ours, pairs: list[Pair], rounds: int) -> dict[str, tuple[str, list[float]]]:
    """Time runs of one step, each beside a run of many; the first pairs are those of the doors."""
    whole = {"arun": ours.arun(1), "run": ours.run(1)}
    costs = dict[str, tuple[str, list[float]]]()
    for (door, seconds), pair in zip(whole.items(), pairs, strict=False):
        single = Pair(_per_step(f"{door} of one step", seconds, 1), pair.subject, "µs")
        measure([single], rounds)
        both = zip(single.subject_samples, single.base_samples, strict=True)
        costs[f"{door}, once a run"] = ("µs", [run - step for run, step in both])
    return costs


def _arguments() -> argparse.Namespace:
    made = parser("Cost of one durable step, small state.", rounds=40)
    made.add_argument("--steps", type=int, default=200, help="steps of a run")
    made.add_argument("--directory", type=Path, help="where to write; the system's temporary one")
    made.add_argument("--no-gumly", action="store_true", help="leave gumly out")
    return made.parse_args()


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    arguments = _arguments()
    steps = arguments.steps
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.directory)))
        gumly: GumlyWorker | None = None
        if not arguments.no_gumly:
            worker = GumlyWorker(install(), directory / "gumly.pkl", steps, small_state())
            gumly = stack.enter_context(worker)
        runner = stack.enter_context(asyncio.Runner())
        floor = stack.enter_context(closing(Floor(directory, steps, small_state())))
        ours = Ours(directory, runner)
        pairs = _durable_pairs(ours, floor, runner, steps) + _hasty_pairs(ours, floor, gumly, steps)
        measure(pairs, arguments.rounds)
        Report(
            f"One step of {steps} in a run, state of {len(small_state())} plain values",
            pairs,
            directory,
            gumly.versions if gumly else {},
            _fixed_costs(ours, pairs, arguments.rounds),
        ).finish(arguments.json)


if __name__ == "__main__":
    main()
