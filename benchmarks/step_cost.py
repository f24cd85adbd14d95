"""Cost of one step whose snapshot is durable, for a small state.

    python benchmarks/step_cost.py [--rounds N] [--steps N] [--directory DIR] [--no-gumly]
                                   [--json FILE]

The state is `workloads.shapes.small_state`, a dict of ten plain values; each step adds one to a
number in it and notes the time. The cost of a step is the time from the first step's note to the
last step's, divided by the steps between: each has its call, its snapshot and all that the library
does around them. What a run costs once (lock, read, plan, first snapshot, unlock) is printed apart:
the time of the whole run less that of its steps. The floors make as many replacements, see
`workloads/floor.py`. gumly runs the same step as often, timed alike, on the same interpreter and in
the same directory, in a process of its own.

The library's own CPU time for a step is that of the process, in all threads, less that of the floor
without hop: what is neither in the pickling nor in the system calls that a durable step needs. The
hop of `arun` is in it, and so are the header, the digest, and what system calls there are beside
the floor's. It is measured on a file system in memory where Linux has one, /dev/shm, for the driver
of a disk takes CPU time too, and never twice the same.

What a step of `run` takes beside the floor is measured twice more there: as it is, and where each
flush is a pause of 0.1 ms. Nothing else differs, so what is added is what any code pays behind a
wait, for the processor has cold caches then.

Without fsync the file system decides what is compared. ext4 writes a file's blocks out at once when
a rename puts it over another one, or when it was truncated and written anew, as gumly does.
aiocheckpoint exchanges names instead where Linux can, which ext4 lets pass: that is faster than
the bare rename, and gives up this protection against power cuts, which gumly keeps. Measured with
`--directory` on a tmpfs, where nothing is ever written out, the ratio shows the code alone.
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
from typing import TYPE_CHECKING, Any, Protocol, Unpack
from unittest.mock import patch

from measure.host import machine
from measure.pairs import Contender, Goal, Pair, Report, measure, parser
from peers.gumly import GumlyWorker
from workloads.floor import Floor
from workloads.shapes import small_state

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from aiocheckpoint import HandlerOptions

ARUN = "arun, coroutine step"
RUN = "run, sync step"
SIGNED_ARUN = "arun, coroutine step, signed"
SIGNED_RUN = "run, sync step, signed"
KEPT_RUN = "run, sync step, signed, keep=3"
VERIFIED_RUN = "run, sync step, signed, verify"
HASTY_ARUN = "arun, coroutine step, fsync=False"
HASTY_RUN = "run, sync step, fsync=False"
BARE_RENAME = "bare create, write, close, rename"
BARE_RENAME_HOP = "the same with one hop"
CPU_ARUN = "arun, coroutine step, CPU time"
CPU_RUN = "run, sync step, CPU time"
CPU_FLOOR = "floor without hop, CPU time"
OWN_CPU = {"library's own CPU time, arun": CPU_ARUN, "library's own CPU time, run": CPU_RUN}
AWAKE_RUN = "run, sync step, in memory"
AWAKE_FLOOR = "floor without hop, in memory"
PAUSED_RUN = "run, sync step, flushes pause 0.1 ms"
PAUSED_FLOOR = "floor without hop, flushes pause 0.1 ms"
BESIDE = {
    "beside the floor, run, in memory": AWAKE_RUN,
    "beside the floor, run, behind pauses": PAUSED_RUN,
}
PAUSE_SECONDS = 0.0001
MEMORY = "/dev/shm"  # noqa: S108 - in a temporary directory there
CPU_GOALS = dict(zip(OWN_CPU, (Goal(120), Goal(60)), strict=True))
HASTY_NOTE = (
    "fsync=False: on ext4 aiocheckpoint exchanges names and so passes by the write-out that a "
    "rename or a truncation causes there; the bare rename is no floor for it, and gumly is better "
    "protected against power cuts. Compare with --directory on a tmpfs for the code alone."
)


class Timer:
    """Times whole runs of a flow, from inside and from outside.

    Attributes:
        once: For each run the microseconds that were no step's.
    """

    def __init__(
        self, path: Path, steps: int, run: Runs, **options: Unpack[HandlerOptions]
    ) -> None:
        self._flow = CheckpointFlow(path, **options)
        self._run = run
        self._clock = run.clock
        self._notes: list[float] = []
        self.once: list[float] = []
        for number in range(steps):
            self._flow.add_step(name=f"step {number}")(run.step(self._notes))

    def sample(self) -> float:
        """Do one run and give the microseconds of a step."""
        self._notes.clear()
        state = small_state()
        begun = self._clock()
        self._run.whole(self._flow, state)
        taken = self._clock() - begun
        assert state["count"] == len(self._notes)
        step = (self._notes[-1] - self._notes[0]) / (len(self._notes) - 1)
        self.once.append((taken - step * len(self._notes)) * 1e6)
        return step * 1e6


class Runs(Protocol):
    """A door of a flow, and a step that suits it.

    Attributes:
        clock: What the steps note, and what a run is timed by.
    """

    clock: Callable[[], float]

    def whole(self, flow: CheckpointFlow, state: dict[str, Any]) -> None:
        """Run all steps."""

    def step(self, notes: list[float]) -> Callable[..., object]:
        """Make a step."""
        ...


class SyncRuns:
    """`run`, with sync steps."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock

    def whole(self, flow: CheckpointFlow, state: dict[str, Any]) -> None:
        """Run all steps."""
        flow.run(state)

    def step(self, notes: list[float]) -> Callable[..., object]:
        """Make a step."""
        clock = self.clock

        def count(state: dict[str, Any], data: dict[str, Any]) -> None:
            state["count"] += 1
            notes.append(clock())

        return count


class AsyncRuns:
    """`arun`, with coroutine steps, on a loop that runs already."""

    def __init__(
        self, runner: asyncio.Runner, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._runner = runner
        self.clock = clock

    def whole(self, flow: CheckpointFlow, state: dict[str, Any]) -> None:
        """Run all steps."""
        self._runner.run(flow.arun(state))

    def step(self, notes: list[float]) -> Callable[..., object]:
        """Make a step."""
        clock = self.clock

        async def count(state: dict[str, Any], data: dict[str, Any]) -> None:
            state["count"] += 1
            notes.append(clock())

        return count


def _paused(sample: Callable[[], float]) -> Callable[[], float]:
    """Let each flush of a sample be a pause, as a disk's is to everything but the disk."""

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
        AWAKE_FLOOR: memory_floor.without_hop,
        PAUSED_FLOOR: _paused(memory_floor.without_hop),
    }
    return {name: Contender(name, way) for name, way in ways.items()}


def _pairs(timers: dict[str, Timer], floors: dict[str, Contender], *, on_disk: bool) -> list[Pair]:
    def goal(limit: float) -> Goal | None:
        return Goal(limit) if on_disk else None

    ours = {name: Contender(name, timer.sample) for name, timer in timers.items()}
    ours[PAUSED_RUN] = Contender(PAUSED_RUN, _paused(timers[AWAKE_RUN].sample))
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
        Pair(ours[AWAKE_RUN], floors[AWAKE_FLOOR], "µs"),
        Pair(ours[PAUSED_RUN], floors[PAUSED_FLOOR], "µs"),
        Pair(ours[HASTY_ARUN], floors[BARE_RENAME_HOP], "µs"),
        Pair(ours[HASTY_RUN], floors[BARE_RENAME], "µs"),
    ]


def _gumly_pairs(timers: dict[str, Timer], gumly: GumlyWorker, *, on_disk: bool) -> list[Pair]:
    other = Contender("gumly", gumly.sample)
    hasty, durable = (Contender(name, timers[name].sample) for name in (HASTY_RUN, RUN))
    goal = Goal(0.5) if on_disk else None
    return [Pair(hasty, other, "µs", goal), Pair(durable, other, "µs")]


def _beside(pairs: list[Pair]) -> dict[str, tuple[str, list[float]]]:
    """Give what the library takes beside the floor, round by round."""
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
        HASTY_ARUN: Timer(directory / "hasty_arun.pkl", steps, coroutines, fsync=False),
        HASTY_RUN: Timer(directory / "hasty.pkl", steps, plain, fsync=False),
        CPU_ARUN: Timer(memory / "cpu_arun.pkl", steps, AsyncRuns(runner, time.process_time)),
        CPU_RUN: Timer(memory / "cpu_run.pkl", steps, SyncRuns(time.process_time)),
        AWAKE_RUN: Timer(memory / "awake.pkl", steps, plain),
    }


def _in_memory(directory: Path, stack: ExitStack) -> Path:
    """Give a directory on a file system in memory, or the other where there is none."""
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
        notes = [HASTY_NOTE]
        report = Report(workload, pairs, directory, versions, figures, notes, CPU_GOALS)
        report.finish(arguments.json)


if __name__ == "__main__":
    main()
