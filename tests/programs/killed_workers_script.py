"""Executes many keyed runs in several processes, which it kills at random moments and restarts.

    python killed_workers_script.py PLACE LOG fsync|no-fsync RUNS PROCESSES ROUNDS SEED

PLACE is the store of a flow: a URL, or a directory with a slash at its end. In each
round every process is killed once. The processes started after the last round come to their end.

LOG has the order of events, in lines that are written in one piece each:

    begin RUN STEP LIFE     a step begins, in the process that is the LIFE-th
    end RUN STEP LIFE       it ends
    ack RUN STEP LIFE       its snapshot was acknowledged
    kill - - LIFE           the process is about to be killed
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow
from aiocheckpoint.events import SnapshotWritten, StepFinished

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiocheckpoint.events import Event

STEPS = ("a", "b", "c", "d", "e")
SYNC = {"b", "d"}
LINES = 3
PATIENCE = 100.0
AT_ONCE = 40
LONGEST_STEP = 0.004
LONGEST_WAIT = 0.05


def first_state(number: int) -> dict[str, Any]:
    """Give the state that a run is started with."""
    return {"number": number, "trail": []}


def last_state(number: int) -> dict[str, Any]:
    """Give the state of an undisturbed run at its end."""
    return {"number": number, "trail": [f"{name} {number}" for name in STEPS]}


def run_id(number: int) -> str:
    """Give the id of a run."""
    return f"order-{number}"


def open_log(path: Path) -> Callable[[str], None]:
    """Give a way to write lines in one piece each."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(line: str) -> None:
        data = line.encode() + b"\n"
        assert os.write(descriptor, data) == len(data)

    return write


class Acknowledged:
    """A hook that notes which steps were acknowledged."""

    def __init__(self, note: Callable[[str, str, str], None]) -> None:
        self._note = note
        self._last = dict[str, str]()

    def __call__(self, event: Event) -> None:
        """Note it. The snapshot of a start belongs to no step."""
        run = str(event.run_id)
        if isinstance(event, StepFinished):
            self._last[run] = event.step
        elif isinstance(event, SnapshotWritten) and run in self._last:
            self._note("ack", run, self._last[run])


def make_flow(
    place: str,
    note: Callable[[str, str, str], None],
    **options: Any,  # noqa: ANN401 (passed on as is)
) -> CheckpointFlow:
    """Make a flow of steps that note when they begin and end."""
    cp = CheckpointFlow(place, name="swarm", hooks=[Acknowledged(note)], **options)
    for name in STEPS:
        cp.add_step(name=name)(make_step(name, note))
    return cp


def make_step(name: str, note: Callable[[str, str, str], None]) -> Callable[..., Any]:
    """Make a step that takes a moment, in a thread or on the loop."""

    def begin(state: dict[str, Any]) -> float:
        note("begin", run_id(state["number"]), name)
        state["trail"].append(f"{name} {state['number']}")
        return random.random() * LONGEST_STEP  # noqa: S311 - no secret

    def sync(state: dict[str, Any]) -> None:
        time.sleep(begin(state))
        note("end", run_id(state["number"]), name)

    async def coroutine(state: dict[str, Any]) -> None:
        await asyncio.sleep(begin(state))
        note("end", run_id(state["number"]), name)

    return sync if name in SYNC else coroutine


async def live(cp: CheckpointFlow, numbers: Sequence[int]) -> None:
    """Work as a service does: resume unfinished runs, then execute the requests not yet done."""
    async for result in cp.aresume_all(limit=AT_ONCE):
        if result.error is not None:
            raise result.error
        assert result.state is not None
        assert result.state == last_state(result.state["number"])

    async def ask(number: int) -> None:
        asked = first_state(number)
        state = await cp.arun(asked, run_id=run_id(number), once=True, wait=PATIENCE)
        assert state == last_state(number)

    await asyncio.gather(*map(ask, numbers))


@dataclass
class Workers:
    """The processes, one for each share of the runs.

    Attributes:
        log: Where lines are noted.
        write: Writes one.
        begin: The work of a process, given the number of its life and its share of the runs.
        shares: Which runs each process starts.
        children: Process id and life of each.
        lives: The number of lives begun.
    """

    log: Path
    write: Callable[[str], None]
    begin: Callable[[int, range], None]
    shares: list[range]
    children: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    lives: int = 0

    def start(self, share: int) -> tuple[int, int]:
        """Start a process, which exits by an exception at its end."""
        self.lives += 1
        child = os.fork()
        if child == 0:
            random.seed(self.lives)
            self.begin(self.lives, self.shares[share])
            raise SystemExit(0)
        return child, self.lives

    def kill(self, share: int) -> None:
        """Kill a process, and start another in its place."""
        child, life = self.children[share]
        self.write(f"kill - - {life}")
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
        self.children[share] = self.start(share)

    def await_lines(self, size: int) -> None:
        """Wait until the log has so many lines."""
        deadline = time.monotonic() + PATIENCE
        while self.log.stat().st_size < size:
            assert time.monotonic() < deadline, "nothing goes on any more"
            time.sleep(0.0005)

    def kill_and_restart(self, rounds: int, rng: random.Random) -> None:
        """Kill each process in each round, early in its life or well in the middle of the work."""
        whole = len("begin order-100 a 10\n") * LINES * len(STEPS) * sum(map(len, self.shares))
        kills = rounds * len(self.shares)
        for number in range(kills):
            if rng.random() < 0.7:
                self.await_lines(int(0.8 * whole * (number + rng.random()) / kills))
            time.sleep(rng.random() * LONGEST_WAIT)
            self.kill(number % len(self.shares))


def main(place: str, log: Path, durable: str, *numbers: str) -> None:
    """Start the processes, kill each so often, and let the last ones finish the rest."""
    runs, processes, rounds, seed = map(int, numbers)
    write = open_log(log)

    def begin(life: int, share: range) -> None:
        cp = make_flow(place, lambda *words: write(f"{' '.join(words)} {life}"), **options)
        asyncio.run(live(cp, share))

    # A server decides by itself when it flushes. After its start, a third of a lease passes before
    # the processes that were killed are known to be gone. In a bucket a whole lease passes.
    is_remote = place.startswith(("postgres", "s3:"))
    options: dict[str, Any] = {"lease": 6.0} if is_remote else {"fsync": durable == "fsync"}
    shares = [range(first, runs, processes) for first in range(processes)]
    workers = Workers(log, write, begin, shares)
    workers.children = [workers.start(share) for share in range(processes)]
    workers.kill_and_restart(rounds, random.Random(seed))  # noqa: S311
    for child, _ in workers.children:
        _, status = os.waitpid(child, 0)
        assert status == 0, status


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
