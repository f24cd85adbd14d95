"""Runs in this process whose server comes and goes, with the order of their steps."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from killed_workers import check_lines
from killed_workers_script import STEPS, first_state, last_state, make_flow, run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

PATIENCE = 60.0


@dataclass
class NotedRuns:
    """Runs of five steps each, which are started together, and their log.

    Attributes:
        url: The store.
        number: How many.
        options: Options of the flow.
        lines: The log, as `killed_workers.read_lines` reads it. All is of the process 1.
        may_end: The last run waits for it in a step, so that something is left to do.
    """

    url: str
    number: int
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    lines: list[str] = field(default_factory=list[str])
    may_end: threading.Event = field(default_factory=threading.Event)

    def _note(self, word: str, run: str, step: str) -> None:
        self.lines.append(f"{word} {run} {step} 1")
        if (word, run, step) == ("begin", run_id(self.number - 1), "d"):
            assert self.may_end.wait(PATIENCE)

    def do_all(self) -> None:
        """Execute all runs at once, to their ends.

        Raises:
            AssertionError: One has failed, or has another state than an undisturbed one. Or a
                step that was acknowledged was executed again.
        """
        states = asyncio.run(self._gathered())
        assert states == [last_state(number) for number in range(self.number)]
        check_lines(self.lines, self.number)

    async def _gathered(self) -> list[dict[str, Any]]:
        async with make_flow(self.url, self._note, **self.options) as cp:
            runs = [cp.arun(first_state(n), run_id=run_id(n)) for n in range(self.number)]
            return await asyncio.gather(*runs)

    @property
    def acknowledged(self) -> int:
        """The number of steps that were acknowledged so far."""
        return sum(line.startswith("ack ") for line in self.lines)

    def wait_until_acknowledged(self, number: int) -> None:
        """Wait until so many steps were acknowledged."""
        deadline = time.monotonic() + PATIENCE
        while self.acknowledged < number:
            assert time.monotonic() < deadline, "the runs have come to a standstill"
            time.sleep(0.002)


@contextmanager
def beside(work: Callable[[], object]) -> Generator[None]:
    """Do some work in a thread beside a `with` block, and raise its error at the end."""
    errors = list[BaseException]()

    def carry() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=carry, name="beside")
    thread.start()
    try:
        yield
    finally:
        thread.join()
    for error in errors:
        raise error


@dataclass(frozen=True)
class Outage:
    """A fault of a server.

    Attributes:
        begin: Makes it.
        end: Mends it, at a random time later.
        seconds: The longest time between both.
    """

    begin: Callable[[], object]
    end: Callable[[], object] | None = None
    seconds: float = 0.5


def do_all_during(runs: NotedRuns, outage: Outage, times: int) -> None:
    """Execute runs, with so many outages between their first step and their last.

    Raises:
        AssertionError: See `NotedRuns.do_all`.
    """
    whole = len(STEPS) * runs.number

    def strike() -> None:
        for number in range(times):
            runs.wait_until_acknowledged(int(0.9 * whole * (number + random.random()) / times))  # noqa: S311
            outage.begin()
            if number == times - 1:
                runs.may_end.set()
            if outage.end is not None:
                time.sleep(random.uniform(0.2, 1.0) * outage.seconds)  # noqa: S311 - no secret
                outage.end()

    with beside(strike):
        runs.do_all()
