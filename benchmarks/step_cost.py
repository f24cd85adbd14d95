"""Cost of one step whose snapshot is durable, for a small state.

    python benchmarks/step_cost.py [--rounds N] [--steps N] [--directory DIR] [--no-gumly]
                                   [--json FILE]

The state is `workloads.shapes.small_state`, a dict of ten plain values. Each step adds one to a
number in it and notes the time. The cost of a step is the time from the first step's note to the
last step's, divided by the steps between. It includes the call, the snapshot and all work of the
library around them. The costs of a whole run (lock, read, plan, first snapshot, unlock) are printed
apart, as the time of the run less the time of its steps. The floors make as many replacements, see
`workloads/floor.py`. gumly runs the same step as often, timed alike, on the same interpreter and in
the same directory, in a process of its own.

The library's own CPU time for a step is the time of the process, in all threads, less the time of
the floor without hop. Pickling and the system calls of a durable step are not in it. The hop of
`arun`, the header, the digest and further system calls are. It is measured on a file system in
memory where Linux has one, /dev/shm, because the driver of a disk takes CPU time too, and never
twice the same.

The time of a step of `run` beside the floor is measured twice more there: unchanged, and with a
pause of 0.1 ms in place of each flush. Nothing else differs, so the difference is the price of any
code behind a wait, which finds the caches of the processor cold.

Without fsync the file system decides the comparison. ext4 writes a file's blocks out at once after
a rename over another file, or after a truncation as in gumly. aiocheckpoint exchanges the names
instead where Linux can, which ext4 does not write out. This is faster than the bare rename, but
gives up the protection against power cuts that gumly keeps. Measured with `--directory` on a tmpfs,
where nothing is ever written out, the ratio shows the code alone.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import time
from contextlib import ExitStack, closing
from operator import sub
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from measure.host import machine
from measure.pairs import Contender, Goal, Pair, Report, measure, parser
from peers.gumly import GumlyWorker
from workloads.floor import Floor
from workloads.shapes import small_state
from workloads.timed_runs import AsyncRuns, SyncRuns, Timer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

ARUN = "arun, coroutine step"
RUN = "run, sync step"
SIGNED_ARUN = "arun, coroutine step, signed"
SIGNED_RUN = "run, sync step, signed"
KEPT_RUN = "run, sync step, signed, keep=3"
VERIFIED_RUN = "run, sync step, signed, verify"
UNSYNCED_ARUN = "arun, coroutine step, fsync=False"
UNSYNCED_RUN = "run, sync step, fsync=False"
BARE_RENAME = "bare create, write, close, rename"
BARE_RENAME_HOP = "the same with one hop"
CPU_ARUN = "arun, coroutine step, CPU time"
CPU_RUN = "run, sync step, CPU time"
CPU_FLOOR = "floor without hop, CPU time"
OWN_CPU = {"library's own CPU time, arun": CPU_ARUN, "library's own CPU time, run": CPU_RUN}
IN_MEMORY_RUN = "run, sync step, in memory"
IN_MEMORY_FLOOR = "floor without hop, in memory"
PAUSED_RUN = "run, sync step, flushes pause 0.1 ms"
PAUSED_FLOOR = "floor without hop, flushes pause 0.1 ms"
BESIDE = {
    "beside the floor, run, in memory": IN_MEMORY_RUN,
    "beside the floor, run, behind pauses": PAUSED_RUN,
}
PAUSE_SECONDS = 0.0001
MEMORY = "/dev/shm"  # noqa: S108 - in a temporary directory there
CPU_GOALS = dict(zip(OWN_CPU, (Goal(120), Goal(60)), strict=True))
UNSYNCED_NOTE = (
    "fsync=False: on ext4 aiocheckpoint exchanges names and so passes by the write-out that a "
    "rename or a truncation causes there; the bare rename is no floor for it, and gumly is better "
    "protected against power cuts. Compare with --directory on a tmpfs for the code alone."
)


def _paused(sample: Callable[[], float]) -> Callable[[], float]:
    """Replace each flush of a sample by a pause."""

    def paused() -> float:
        with patch("os.fsync", lambda _: time.sleep(PAUSE_SECONDS)):
            return sample()

    return paused


def _floors(
    floor: Floor, cpu_floor: Floor, memory_floor: Floor, runner: asyncio.Runner
) -> dict[str, Contender]:
    ways: dict[str, Callable[[], float]] = {
        "floor with one hop": lambda: runner.run(floor.with_hop()),
        "floor without hop": floor.without_hop,
        "bare system calls": floor.system_calls,
        BARE_RENAME: floor.without_fsync,
        BARE_RENAME_HOP: lambda: runner.run(floor.with_hop_without_fsync()),
        CPU_FLOOR: cpu_floor.without_hop,
        IN_MEMORY_FLOOR: memory_floor.without_hop,
        PAUSED_FLOOR: _paused(memory_floor.without_hop),
    }
    return {name: Contender(name, way) for name, way in ways.items()}


def _pairs(timers: dict[str, Timer], floors: dict[str, Contender], *, on_disk: bool) -> list[Pair]:
    def goal(limit: float) -> Goal | None:
        return Goal(limit) if on_disk else None

    ours = {name: Contender(name, timer.sample) for name, timer in timers.items()}
    ours[PAUSED_RUN] = Contender(PAUSED_RUN, _paused(timers[IN_MEMORY_RUN].sample))
    return [
        Pair(ours[ARUN], floors["floor with one hop"], "µs", goal(1.2)),
        Pair(ours[RUN], floors["floor without hop"], "µs", goal(1.15)),
        Pair(ours[SIGNED_ARUN], floors["floor with one hop"], "µs", goal(1.3)),
        Pair(ours[SIGNED_RUN], floors["floor without hop"], "µs", goal(1.25)),
        Pair(ours[KEPT_RUN], floors["floor without hop"], "µs"),
        Pair(ours[VERIFIED_RUN], floors["floor without hop"], "µs"),
        Pair(floors["floor without hop"], floors["bare system calls"], "µs"),
        Pair(ours[CPU_ARUN], floors[CPU_FLOOR], "µs"),
        Pair(ours[CPU_RUN], floors[CPU_FLOOR], "µs"),
        Pair(ours[IN_MEMORY_RUN], floors[IN_MEMORY_FLOOR], "µs"),
        Pair(ours[PAUSED_RUN], floors[PAUSED_FLOOR], "µs"),
        Pair(ours[UNSYNCED_ARUN], floors[BARE_RENAME_HOP], "µs"),
        Pair(ours[UNSYNCED_RUN], floors[BARE_RENAME], "µs"),
    ]


def _gumly_pairs(timers: dict[str, Timer], gumly: GumlyWorker, *, on_disk: bool) -> list[Pair]:
    other = Contender("gumly", gumly.sample)
    hasty, durable = (Contender(name, timers[name].sample) for name in (UNSYNCED_RUN, RUN))
    goal = Goal(0.5) if on_disk else None
    return [Pair(hasty, other, "µs", goal), Pair(durable, other, "µs")]


def _beside(pairs: list[Pair]) -> dict[str, tuple[str, list[float]]]:
    """Give the time of the library beside the floor, round by round."""
    found = {pair.subject.name: pair for pair in pairs}
    return {
        name: ("µs", list(map(sub, found[subject].subject_samples, found[subject].base_samples)))
        for name, subject in (OWN_CPU | BESIDE).items()
    }


def _timers(directory: Path, memory: Path, steps: int, runner: asyncio.Runner) -> dict[str, Timer]:
    secret = secrets.token_bytes(32)
    coroutines, plain = AsyncRuns(runner), SyncRuns()
    return {
        ARUN: Timer(directory / "arun.pkl", steps, coroutines),
        RUN: Timer(directory / "run.pkl", steps, plain),
        SIGNED_ARUN: Timer(directory / "signed_arun.pkl", steps, coroutines, secret=secret),
        SIGNED_RUN: Timer(directory / "signed.pkl", steps, plain, secret=secret),
        KEPT_RUN: Timer(directory / "kept.pkl", steps, plain, secret=secret, keep=3),
        VERIFIED_RUN: Timer(directory / "verified.pkl", steps, plain, secret=secret, verify=True),
        UNSYNCED_ARUN: Timer(directory / "hasty_arun.pkl", steps, coroutines, fsync=False),
        UNSYNCED_RUN: Timer(directory / "hasty.pkl", steps, plain, fsync=False),
        CPU_ARUN: Timer(memory / "cpu_arun.pkl", steps, AsyncRuns(runner, time.process_time)),
        CPU_RUN: Timer(memory / "cpu_run.pkl", steps, SyncRuns(time.process_time)),
        IN_MEMORY_RUN: Timer(memory / "awake.pkl", steps, plain),
    }


def _in_memory(directory: Path, stack: ExitStack) -> Path:
    """Give a directory on a file system in memory, or the given one where there is none."""
    if not os.access(MEMORY, os.W_OK):
        return directory
    return Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))


def _arguments() -> argparse.Namespace:
    made = parser("Cost of one durable step, small state.", rounds=200)
    made.add_argument("--steps", type=int, default=20, help="steps of a run, 2 or more")
    made.add_argument("--directory", type=Path, help="where to write; the system's temporary one")
    made.add_argument("--no-gumly", action="store_true", help="leave gumly out")
    return made.parse_args()


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    arguments = _arguments()
    steps = arguments.steps
    with ExitStack() as stack:
        made = tempfile.TemporaryDirectory(dir=arguments.directory)
        directory = Path(stack.enter_context(made))
        runner = stack.enter_context(asyncio.Runner())
        memory = _in_memory(directory, stack)
        floor, cpu_floor, memory_floor = (
            stack.enter_context(closing(Floor(place, steps, small_state(), clock)))
            for place, clock in (
                (directory, time.perf_counter),
                (memory, time.process_time),
                (memory, time.perf_counter),
            )
        )
        on_disk = machine(directory)["file system"] != "tmpfs"
        timers = _timers(directory, memory, steps, runner)
        floors = _floors(floor, cpu_floor, memory_floor, runner)
        pairs = _pairs(timers, floors, on_disk=on_disk)
        versions: dict[str, str] = {}
        if not arguments.no_gumly:
            worker = GumlyWorker(directory / "gumly.pkl", steps, small_state())
            gumly = stack.enter_context(worker)
            versions = gumly.versions
            pairs += _gumly_pairs(timers, gumly, on_disk=on_disk)
        measure(pairs, arguments.rounds)
        figures = _beside(pairs)
        figures |= {f"{name}, once a run": ("µs", timer.once) for name, timer in timers.items()}
        workload = f"One step of a run of {steps}, state of {len(small_state())} plain values"
        notes = [UNSYNCED_NOTE]
        report = Report(workload, pairs, directory, versions, figures, notes, CPU_GOALS)
        report.finish(arguments.json)


if __name__ == "__main__":
    main()
