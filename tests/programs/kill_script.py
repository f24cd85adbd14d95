"""Kills its own children at random moments, and prints as JSON the snapshot that each kill left.

    python kill_script.py DIRECTORY write|run|arun fsync|no-fsync ROUNDS

With "write" a child stores states one after another, and prints each stored one. With a method
each child resumes the same flow through it until one ends it. Forking from a process that has
imported everything makes a kill cost a few milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import struct
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow, LocalStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = [f"step {number}" for number in range(40)]
FILLING = "x" * 200_000
LONGEST = 0.012
NUMBER = struct.Struct("<I")


def store(place: Path, report: Callable[[int], None], *, fsync: bool) -> None:
    """Store states with growing numbers for ever."""
    handler = LocalStateHandler(place / "checkpoint.pkl", fsync=fsync)
    number = handler.read().get("n", 0)
    while True:
        number += 1
        handler.write({"n": number, "filling": FILLING})
        report(number)


def go_on(place: Path, report: Callable[[int], None], *, fsync: bool, method: str) -> None:
    """Resume the flow, to its end if there is time."""
    cp = CheckpointFlow(place / "checkpoint.pkl", fsync=fsync)
    effects = os.open(place.parent / "effects", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for number, name in enumerate(STEPS):

        def step(state: dict[str, Any], number: int = number) -> None:
            os.write(effects, b"%d " % number)
            state.setdefault("trail", []).append(number)
            state["filling"] = FILLING
            report(number)

        cp.add_step(name=name)(lambda state, step=step: step(state))
    report(0)
    if method == "run":
        cp.run()
    else:
        asyncio.run(cp.arun())


def kill_one(
    work: Callable[..., None], place: Path, longest: float, *, fsync: bool
) -> dict[str, Any]:
    """Start a child, kill it within so many seconds, and return the snapshot that it left."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        work(place, lambda number: os.write(writer, NUMBER.pack(number)), fsync=fsync)
        os._exit(0)
    os.close(writer)
    reported = os.read(reader, NUMBER.size)
    time.sleep(random.uniform(0, longest))  # noqa: S311 - no secret
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    while more := os.read(reader, NUMBER.size):
        reported = more
    os.close(reader)
    return {
        "killed": os.WIFSIGNALED(status),
        "told": NUMBER.unpack(reported)[0] if reported else None,
        "left": sum(path.name.endswith(".tmp") for path in place.iterdir()),
        "locks": sum(path.name.endswith(".lock") for path in place.iterdir()),
    }


def main(place: Path, word: str, durable: str, rounds: int) -> None:
    """Kill as many children as asked for, or until the flow is done."""
    work = store if word == "write" else partial(go_on, method=word)
    handler = LocalStateHandler(place / "checkpoint.pkl")
    seen = list[dict[str, Any]]()
    longest, stored = LONGEST, 0
    for _ in range(rounds):
        seen.append(kill_one(work, place, longest, fsync=durable == "fsync"))
        header = handler.header()
        # A life that stored nothing gives the next one more time, so that a busy machine ends too.
        before, stored = stored, 0 if header is None else header.sequence
        longest = max(LONGEST, longest / 2) if stored > before else longest * 1.1
        seen[-1]["stored"] = handler.read().get("n")
        seen[-1]["finished"] = header is not None and header.finished
        if word != "write" and seen[-1]["finished"]:
            break
    print(json.dumps(seen))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
