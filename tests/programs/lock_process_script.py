"""Runs a flow on command, started by the tests: `lock_process_script.py PATH [LEASE]`.

A path that ends in .db is that of a database. With a lease in seconds, locks are renewed files.
Each line of its input is one command, each line of
its output one answer:

    hold        run; prints "held" inside of the step, and after the next line "ended", or "lost"
                if it lost its lease
    race WHEN   do as "hold" at this moment of the monotonic clock; or print "busy PID"
    once WAIT   run with wait=WAIT; prints "ran", "busy PID" or "together"
    store FSYNC COUNT   store so many states by hand, with or without fsync; prints "stored"
    steps FSYNC COUNT   run a flow of so many steps; prints "stored"
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from aiocheckpoint import CheckpointFlow, LeaseLostError, RunInProgressError

if TYPE_CHECKING:
    from collections.abc import Callable


def say(text: str) -> None:
    """Answer."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def make_flow(path: Path, *, fsync: bool = False) -> CheckpointFlow:
    """Make a flow without steps."""
    if len(sys.argv) > 2:
        return CheckpointFlow(path, fsync=fsync, lock="lease", lease=float(sys.argv[2]))
    return CheckpointFlow(path, "sqlite" if path.suffix == ".db" else "local", fsync=fsync)


def hold(path: Path) -> str:
    """Run, and stay inside until the command to end."""
    cp = make_flow(path)

    @cp.add_step()
    def stay(state: dict[str, int]) -> None:
        say("held")
        sys.stdin.readline()

    try:
        cp.run({"pid": os.getpid()})
    except LeaseLostError:
        return "lost"
    return "ended"


def race(path: Path, moment: float) -> str:
    """Run at that moment, on the dot, and stay inside until the command to end."""
    while time.monotonic() < moment:
        pass
    try:
        return hold(path)
    except RunInProgressError as error:
        return f"busy {error.pid}"


def once(path: Path, wait: float) -> str:
    """Run unless another process does, and check that no other one does meanwhile."""
    cp = make_flow(path)
    mark = path.with_name("mark")
    together: list[str] = []

    @cp.add_step()
    def be_alone(state: dict[str, int]) -> None:
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            together.append("together")
            return
        time.sleep(0.002)
        mark.unlink()

    try:
        cp.run({"pid": os.getpid()}, wait=wait)
    except RunInProgressError as error:
        return f"busy {error.pid}"
    return "together" if together else "ran"


def store(path: Path, fsync: str, count: str) -> str:
    """Store states of many sizes, numbered from 1."""
    handler = make_flow(path, fsync=bool(int(fsync))).handler
    for number in range(1, int(count) + 1):
        handler.write({"checkpoint_index": number, "rows": [number] * (number % 20 * 5000 + 1)})
    return "stored"


def go_through(path: Path, fsync: str, count: str) -> str:
    """Run a flow whose state grows and shrinks with its steps."""
    cp = make_flow(path, fsync=bool(int(fsync)))
    for number in range(1, int(count) + 1):

        def step(state: dict[str, list[int]], number: int = number) -> None:
            state["rows"] = [number] * (number % 20 * 5000 + 1)

        cp.add_step(name=f"step {number}")(lambda state, step=step: step(state))
    cp.run({"rows": [0]})
    return "stored"


def main() -> None:
    """Carry out commands until the input ends."""
    path = Path(sys.argv[1])
    say("ready")
    operations: dict[str, Callable[..., str]] = {
        "hold": hold,
        "race": lambda path, moment: race(path, float(moment)),
        "once": lambda path, wait: once(path, float(wait)),
        "store": store,
        "steps": go_through,
    }
    while line := sys.stdin.readline().split():
        say(operations[line[0]](path, *line[1:]))


if __name__ == "__main__":
    main()
