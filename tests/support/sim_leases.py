"""Leased stores in a deterministic simulation: python -m sim_leases SEED replays a schedule.

The library's own processors, sessions, leases, patience and owner watch run in simulated processes
against a simulated server. All choices come from one seed.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sim_callers import Caller, sweep
from sim_kernel import Kernel
from sim_ledger import BrokenPromiseError, Counts, Ledger
from sim_process import LEASE, PATIENCE, Process, SimClock
from sim_server import Faults, Server

from aiocheckpoint.handlers.leased import _patience

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

__all__ = ["Simulation", "explain", "find_failure", "main"]

_KEYS = [("flow", f"run {number}") for number in range(3)]
_PROCESSES = 3
_DAY = 86_400.0
_LONG = 30.0


class Simulation:
    """One schedule.

    Args:
        seed: All choices come from it.
        traced: Whether the trace is kept.
    """

    def __init__(self, seed: int, *, traced: bool = False) -> None:
        self.kernel = Kernel(seed, traced=traced)
        self.choices = self.kernel.choices
        self._stores = {
            "shows_sessions": self.choices.random() < 0.8,
            "commits_alone": self.choices.random() < 0.5,
        }
        self.ledger = Ledger(self.kernel, LEASE, PATIENCE)
        self.server = self.ledger.server = Server(self.kernel, self.ledger)
        self.server.refuses_when_read_only = self.choices.random() < 0.5
        self.processes: list[Process] = []
        self.callers: list[Caller] = []
        self._is_calm = False
        self._until = self.choices.choice((2.0, 4.0, 7.0))

    def run(self) -> None:
        """Run the schedule.

        Raises:
            BrokenPromiseError: A promise was broken.
        """
        with _determined(self.kernel):
            for _ in range(_PROCESSES):
                self._start_process()
            self._plan_faults()
            self._plan_work()
            self.kernel.at(self._until, self._calm_down)
            self.kernel.run()

    def _start_process(self) -> Process:
        choices = self.choices
        rate = choices.choice((1.0, 1.0, 0.99, 1.01))
        clock = SimClock(self.kernel, rate, choices.choice((0.0, _DAY, -_DAY)))
        number = len(self.processes) + 1
        process = Process(self.kernel, self.server, self.ledger, number, clock, **self._stores)
        self.processes.append(process)
        return process

    # what goes wrong

    def _plan_faults(self) -> None:
        choices = self.choices
        kinds: list[Callable[[], None]] = [
            self._stop_server,
            self._refuse_writes,
            self._end_sessions,
            self._cut_off,
            self._freeze,
            self._hold_row,
            self._kill,
            self._close,
        ]
        kinds = choices.sample(kinds, choices.choice((1, 2, 3, len(kinds), len(kinds))))
        for _ in range(choices.choice((4, 8, 16))):
            self.kernel.at(choices.random() * self._until, choices.choice(kinds))
        self.server.faults = Faults(
            breaks=choices.choice((0.0, 0.02, 0.05)),
            loses_answer=choices.choice((0.0, 0.05, 0.1)),
            delays=choices.choice((0.0, 0.02, 0.05)),
            longest_delay=choices.choice((0.05, 1.5)),
        )

    def _seconds(self) -> float:
        """How long a fault lasts."""
        return self.choices.random() * self.choices.choice((0.1, 1.0, 3 * LEASE))

    def _stop_server(self) -> None:
        if self.server.is_up:
            self.server.stop()
            self.kernel.at(self._seconds(), self.server.start)

    def _refuse_writes(self) -> None:
        self.server.set_read_only(read_only=True)
        self.kernel.at(self._seconds(), lambda: self.server.set_read_only(read_only=False))

    def _end_sessions(self) -> None:
        for session in list(self.server.sessions.values()):
            if self.choices.random() < 0.5:
                self.server.end_session(session)

    def _cut_off(self) -> None:
        self.choices.choice(self.processes).cut_off(self._seconds())

    def _freeze(self) -> None:
        process = self.choices.choice(self.processes)
        process.freeze(self._seconds(), sleeps=self.choices.random() < 0.5)

    def _hold_row(self) -> None:
        self.server.hold_row(self.choices.choice(_KEYS), self._seconds())

    def _kill(self) -> None:
        self.choices.choice(self.processes).kill(power=self.choices.random() < 0.3)
        self._succeed()

    def _close(self) -> None:
        self.choices.choice(self.processes).close()
        self._succeed()

    def _succeed(self) -> None:
        if len(self.processes) < 2 * _PROCESSES:
            self._start_process()

    # what the processes do

    def _living(self) -> list[Process]:
        return [one for one in self.processes if not one.is_dead and not one.is_closing]

    def _plan_work(self) -> None:
        busy = self.choices.choice((0.15, 0.4, 0.8))
        when = 0.0
        while when < self._until:
            self.kernel.at(when, self._work)
            when += self.choices.random() * busy

    def _work(self) -> None:
        living, choices = self._living(), self.choices
        if not living or self._is_calm:
            return
        process, what = choices.choice(living), choices.random()
        if what < 0.1:
            sweep(process)
        elif what < 0.2 and self.callers:
            choices.choice(self.callers).cancel()
        else:
            caller = Caller(process, choices.choice(_KEYS), f"caller {len(self.callers) + 1}")
            self.callers.append(caller)

    # the end

    def _calm_down(self) -> None:
        """Nothing goes wrong any more. All that hangs goes on."""
        self.kernel.say("calm")
        self._is_calm = True
        self.server.faults = Faults()
        self.server.start()
        self.server.set_read_only(read_only=False)
        for process in self.processes:
            process.recover()
        self._last = self._start_process()
        self._deadline = self.kernel.now + _LONG
        self._settle()

    def _settle(self) -> None:
        sweep(self._last)
        waiting = [one for one in self.callers if not one.is_over and not one.process.is_dead]
        owned = [row for row in self.server.tables.runs.values() if row.owner is not None]
        if self.kernel.now > self._deadline:
            self._check_end(waiting)
        elif waiting or owned:
            self.kernel.at(0.3, self._settle)
        else:
            self.kernel.end()

    def _check_end(self, waiting: list[Caller]) -> None:
        self.ledger.check_end({})
        names = ", ".join(caller.name for caller in waiting)
        raise BrokenPromiseError(f"{names} of {len(self.callers)} never ended")


@contextmanager
def _determined(kernel: Kernel) -> Generator[None, None, None]:
    """Let the library's own random choices come from the seed, and its log be silent."""
    names = _patience.__dict__
    before, disabled = names["random"], logging.root.manager.disable
    names["random"] = kernel.choices
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        names["random"] = before
        logging.disable(disabled)


def find_failure(seeds: Iterable[int], counts: Counts | None = None) -> int | None:
    """Run schedules up to the first that fails, and give its seed.

    Args:
        seeds: Their seeds.
        counts: Is increased by what has happened.
    """
    for seed in seeds:
        simulation = Simulation(seed)
        try:
            simulation.run()
        except Exception:  # noqa: BLE001 - told by `explain`
            return seed
        if counts is not None:
            counts.add(simulation.ledger.counts)
    return None


def explain(seed: int) -> str:
    """Run one schedule, and tell all that happens in it, and what fails."""
    simulation = Simulation(seed, traced=True)
    problem = "no promise is broken"
    try:
        simulation.run()
    except Exception as error:  # noqa: BLE001 - it is told
        problem = f"{type(error).__name__}: {error}"
    lines = simulation.kernel.trace or []
    replay = f"Replay: PYTHONPATH=src:tests/support python -m sim_leases {seed}"
    return "\n".join([*lines, f"seed {seed}: {problem}", replay])


def main() -> None:
    """Replay one schedule, or look for one that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int, help="the first seed")
    parser.add_argument("--count", type=int, default=0, help="look for a failure among so many")
    options = parser.parse_args()
    if not options.count:
        sys.stdout.write(explain(options.seed) + "\n")
        return
    began, counts = time.monotonic(), Counts()
    failed = find_failure(range(options.seed, options.seed + options.count), counts)
    if failed is not None:
        sys.stdout.write(explain(failed) + "\n")
        sys.exit(1)
    seconds = time.monotonic() - began
    sys.stdout.write(f"{options.count} schedules in {seconds:.1f} s: {counts}\n")


if __name__ == "__main__":
    main()
