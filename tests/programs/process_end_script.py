"""Processes that end in the middle of a run, in every way but a kill at random.

    python process_end_script.py DIRECTORY < CASES

CASES is JSON, a list of dicts with the fields of `Case`. The output is, for each, how its process
ended. The snapshot `c.pkl` of the n-th is in the directory named n.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Callable

if sys.platform == "linux":
    import resource

State = dict[str, Any]

PATIENCE = 60.0
PAUSE = 0.01
LONGEST_END = 20.0
SPARE_BYTES = 1 << 24
PIECE_BYTES = 1 << 14


@dataclass(frozen=True)
class Case:
    """How a process is to end.

    Attributes:
        method: "run" or "arun".
        part: The part of step b in which it happens, or "snapshot" for the one after it.
        operation: The action of that part: "_exit", "exit", "hoard", "hold", or "ahold", a
            coroutine, that is, wait for the signals.
        signals: The signals that are then sent, by name.
        handling: The handler of SIGTERM: "nobody"; "exit", a handler that raises SystemExit; or
            "task", the loop, which cancels the task.
    """

    method: str
    part: str
    operation: str
    signals: tuple[str, ...] = ()
    handling: str = "nobody"


class Latch:
    """A latch at which a child reports its arrival, and waits until it is opened."""

    def __init__(self) -> None:
        """Make the pipes."""
        self._entered, self._opened = os.pipe(), os.pipe()

    def enter(self) -> None:
        """Report the arrival."""
        os.write(self._entered[1], b"x")

    def hold(self) -> None:
        """Report the arrival, and wait."""
        self.enter()
        select.select([self._opened[0]], [], [], PATIENCE)

    def reached(self) -> bool:
        """Wait until the child arrives, or has ended before."""
        os.close(self._entered[1])
        return os.read(self._entered[0], 1) == b"x"

    def open(self) -> None:
        """Release the child."""
        os.write(self._opened[1], b"x")


class Held:
    """A value that is held while it is pickled."""

    def __init__(self, latch: Latch) -> None:
        """Be held there."""
        self._latch = latch

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Be a string when it is loaded."""
        self._latch.hold()
        return str, ("held",)


class Hoarded:
    """A value that takes all memory while it is pickled."""

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Take memory until the process ends."""
        hoard([])
        return str, ("hoarded",)


def hoard(pieces: list[bytes]) -> None:
    """Take the little memory left to the process, in small pieces."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    limit = pages * resource.getpagesize() + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    while True:
        pieces.append(bytes(PIECE_BYTES))


def do(case: Case, latch: Latch, state: State) -> State:
    """Do the operation."""
    state["half"] = True
    if case.operation == "_exit":
        os._exit(3)
    if case.operation == "exit":
        sys.exit(3)
    if case.part == "snapshot":
        state["value"] = Hoarded() if case.operation == "hoard" else Held(latch)
    elif case.operation == "hoard":
        hoard(state.setdefault("pieces", []))
    else:
        latch.hold()
    return {}


def make_flow(case: Case, latch: Latch, path: Path) -> CheckpointFlow:
    """Make a flow of three steps, the second of which does the operation."""

    def mark(state: State, name: str) -> None:
        state["trail"] = [*state.get("trail", []), name]

    def part(name: str) -> Callable[[State], Any]:
        if name != case.part:
            return lambda state: {}
        return adeed if case.operation == "ahold" else lambda state: do(case, latch, state)

    async def adeed(state: State) -> State:
        state["half"] = True
        latch.enter()
        await asyncio.sleep(PATIENCE)
        return {}

    async def astep(state: State) -> None:
        mark(state, "b")
        await part("step")(state)

    def step(state: State) -> None:
        mark(state, "b")
        part("step" if case.part == "step" else "snapshot")(state)

    cp = CheckpointFlow(path, fsync=False)
    cp.add_step(name="a")(lambda state: mark(state, "a"))
    is_async = (case.part, case.operation) == ("step", "ahold")
    cp.add_step(part("load"), part("save"), name="b")(astep if is_async else step)
    cp.add_step(name="c")(lambda state: mark(state, "c"))
    return cp


async def serve(case: Case, cp: CheckpointFlow) -> None:
    """Run the flow as a service does."""
    task = asyncio.current_task()
    if case.handling == "task" and task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await cp.arun(None, "always")


def live(case: Case, cp: CheckpointFlow) -> None:
    """Be the process that is to end."""
    if case.handling == "exit":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
    if case.method == "run":
        cp.run(None, "always")
        return
    try:
        asyncio.run(serve(case, cp))
    except asyncio.CancelledError:
        sys.exit(6)


def interrupt(case: Case, latch: Latch, child: int) -> bool:
    """Send the signals, release the child, and return whether it had waited for the release."""
    if not latch.reached():
        return False
    for name in case.signals:
        os.kill(child, getattr(signal, name))
        time.sleep(PAUSE)
    time.sleep(PAUSE)
    waited = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    latch.open()
    return waited


def conduct(case: Case, place: Path) -> dict[str, Any]:
    """Let a child live to its end, and return how it ended."""
    place.mkdir()
    latch, said = Latch(), place.with_suffix(".said")
    child = os.fork()
    if child == 0:
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT, 0o600), 2)
        live(case, make_flow(case, latch, place / "c.pkl"))
        sys.exit(0)
    waited = interrupt(case, latch, child)
    status, again = await_end(case, child)
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "waited": waited, "again": again, "said": said.read_text("utf-8")}


def await_end(case: Case, child: int) -> tuple[int, bool]:
    """Wait for the end of a child, and return its status, and whether it took a third signal.

    An exception that a handler raises inside the event loop may cost a task its next step.
    `asyncio.run` then waits for this task until the next signal.
    """
    third = case.method == "arun" and len(case.signals) == 2 and case.handling != "task"
    deadline = time.monotonic() + LONGEST_END
    while third and time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status, False
        time.sleep(PAUSE)
    if third:
        os.kill(child, getattr(signal, case.signals[0]))
    return os.waitpid(child, 0)[1], third


def main(place: Path) -> None:
    """Conduct each case."""
    cases = [Case(**fields) for fields in json.load(sys.stdin)]
    ends = [conduct(case, place / str(number)) for number, case in enumerate(cases)]
    print(json.dumps(ends))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
