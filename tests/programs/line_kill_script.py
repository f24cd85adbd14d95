"""Runs that are killed on lines of the library, and the runs that resume them, killed as well.

    python line_kill_script.py DIRECTORY run|arun SEED CHAINS

Each chain is one flow: it is started, killed, resumed, killed again, resumed, killed once more,
and resumed to its end. Each life is a forked child that kills itself on a line of the library
chosen at random, in any thread. It prints JSON: the effects and the files of each life.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import threading
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiocheckpoint
from aiocheckpoint import CheckpointFlow, LocalStateHandler
from aiocheckpoint.events import RunStarted, SnapshotWritten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

STEPS = ("a", "b", "c")
DEATHS = 3
LIBRARY = str(Path(aiocheckpoint.__file__).parent)


END = threading.Lock()
"""Held by the first that ends a life: the kill on a line, or the end of the run.

A thread of the library may still execute lines while the run ends.
"""


def make_flow(path: Path, report: Callable[..., object]) -> CheckpointFlow:
    """Make a flow that reports its start, its calls of steps and its acknowledged snapshots."""
    called: list[str] = []

    def hook(event: object) -> None:
        if isinstance(event, RunStarted):
            report(began=event.plan.start)
        if isinstance(event, SnapshotWritten):
            report(acknowledged=len(STEPS) if STEPS[-1] in called else event.position)

    cp = CheckpointFlow(path, fsync=False, hooks=[hook])
    for name in STEPS:

        def step(state: dict[str, Any], name: str = name) -> None:
            called.append(name)
            report(effect=name)
            state["trail"].append(name)

        cp.add_step(name=name)(lambda state, step=step: step(state))
    return cp


def mark_lines(number: int, meet: Callable[[str], object], lines: Iterator[int]) -> None:
    """Count the lines of the library that all threads execute, and call `meet` on one."""

    def trace(frame: FrameType, event: str, arg: object) -> Any:  # noqa: ANN401
        if not frame.f_code.co_filename.startswith(LIBRARY):
            return None
        if event == "line" and next(lines) == number:
            meet(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        return trace

    threading.settrace(trace)
    sys.settrace(trace)


def live(path: Path, method: str, number: int, report: Callable[..., object]) -> None:
    """Run the flow, and die on the n-th line if the run has so many."""

    def die(line: str) -> None:
        END.acquire()
        report(died=line)
        os.kill(os.getpid(), signal.SIGKILL)

    cp = make_flow(path, report)
    mark_lines(number, die, count(1))
    if method == "run":
        cp.run({"trail": []})
    else:
        asyncio.run(cp.arun({"trail": []}))


def fork_life(path: Path, method: str, number: int) -> dict[str, Any]:
    """Let a child live; return its reports and its files."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        live(
            path, method, number, lambda **fact: os.write(writer, json.dumps(fact).encode() + b"\n")
        )
        END.acquire()
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as reported:
        facts = [json.loads(line) for line in reported]
    _, status = os.waitpid(child, 0)
    life = {**sum_up(facts), **look_at(path)}
    assert os.waitstatus_to_exitcode(status) == (-signal.SIGKILL if life["died"] else 0)
    return life


def sum_up(facts: list[dict[str, Any]]) -> dict[str, Any]:
    """Put together the reports of a life."""

    def every(what: str) -> list[Any]:
        return [fact[what] for fact in facts if what in fact]

    return {
        "died": next(iter(every("died")), None),
        "began": next(iter(every("began")), None),
        "effects": every("effect"),
        "acknowledged": max(every("acknowledged"), default=0),
    }


def look_at(path: Path) -> dict[str, Any]:
    """Return the stored snapshot, and the files beside it."""
    handler = LocalStateHandler(path)
    header = handler.header()
    return {
        "stored": handler.read().get("trail", []),
        "done": 0 if header is None else len(STEPS) if header.finished else header.position,
        "sequence": 0 if header is None else header.sequence,
        "files": [entry.name for entry in os.scandir(path.parent)],
    }


def fork_chain(place: Path, method: str, rng: random.Random, most: int) -> list[dict[str, Any]]:
    """Let lives follow one another until the flow has ended."""
    place.mkdir()
    chain: list[dict[str, Any]] = []
    while not chain or chain[-1]["done"] < len(STEPS):
        # Lives that resume have fewer lines before them.
        number = rng.randrange(1, most // (1 + len(chain))) if len(chain) < DEATHS else 0
        chain.append(fork_life(place / "c.pkl", method, number))
    return chain


def count_lines(place: Path, method: str) -> int:
    """Count the lines of an undisturbed run, in a child that is not killed."""
    place.mkdir()
    reader, writer = os.pipe()
    if os.fork() == 0:
        seen = count(1)
        mark_lines(0, print, seen)
        cp = make_flow(place / "c.pkl", lambda **fact: None)
        cp.run({"trail": []}) if method == "run" else asyncio.run(cp.arun({"trail": []}))
        os.write(writer, str(next(seen)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="ascii") as reported:
        return int(reported.read())


def main(place: Path, method: str, seed: int, chains: int) -> None:
    """Let so many chains live and die."""
    most = count_lines(place / "whole", method)
    rng = random.Random(seed)  # noqa: S311 - no secret
    lives = [fork_chain(place / str(number), method, rng, most) for number in range(chains)]
    print(json.dumps(lives))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
