"""A program that runs a flow when it is told to, started by the tests: `contender.py PATH`.

Each line that it reads is one command, each line that it prints one answer:

    hold        run; prints "held" inside of the step, and "ended" after the next line
    once WAIT   run with wait=WAIT; prints "ran", "busy PID" or "together"
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from aiocheckpoint import CheckpointFlow, RunInProgressError


def say(text: str) -> None:
    """Answer."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def hold(path: Path) -> str:
    """Run, and stay inside until told to end."""
    cp = CheckpointFlow(path, fsync=False)

    @cp.add_step()
    def stay(state: dict[str, int]) -> None:
        say("held")
        sys.stdin.readline()

    cp.run({"pid": os.getpid()})
    return "ended"


def once(path: Path, wait: float) -> str:
    """Run if nobody else does, and see that nobody else does meanwhile."""
    cp = CheckpointFlow(path, fsync=False)
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


def main() -> None:
    """Do as told until the input ends."""
    path = Path(sys.argv[1])
    say("ready")
    while line := sys.stdin.readline().split():
        say(hold(path) if line[0] == "hold" else once(path, float(line[1])))


if __name__ == "__main__":
    main()
