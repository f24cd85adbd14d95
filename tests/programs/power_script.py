"""Cuts the power of a disk again and again under a child of its own; prints what was left.

    python power_script.py KIND DIRECTORY run|database|first fsync|no-fsync ROUNDS SEED

The disk is made and mounted already. With "run" each child goes on with the same flow, and with
"database" with one in SQLite; when that has come to its end, or has lost what it had, the next
begins in new directories. With "first" a
child stores one first snapshot after another, each in new directories. The child tells through
a pipe how far it is; a while after one of these messages the power is cut. What is printed is
JSON, with an object for each round.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from power import Disk

from aiocheckpoint import CheckpointError, CheckpointFlow, LocalStateHandler
from aiocheckpoint.handlers.sqlite import SqliteStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from aiocheckpoint import StateHandler

STEPS = 40
MESSAGES = 12
# About as long as a snapshot takes, so that every part of one is met.
LONGEST = 0.004
PATIENCE = 60


def filling(number: int) -> str:
    """Make the bulk of a state: of every size, and different in each."""
    return f"{number} " * (number * 7_919 % 40_000)


@contextlib.contextmanager
def handler_of(path: Path, *, fsync: bool = True) -> Generator[StateHandler, None, None]:
    """Give the handler of a path, by its ending, and let go of its files."""
    if path.suffix != ".db":
        yield LocalStateHandler(path, fsync=fsync)
        return
    handler = SqliteStateHandler(path, fsync=fsync)
    with contextlib.closing(handler):
        yield handler


def make_flow(
    path: Path, report: Callable[[object], None], handler: StateHandler
) -> CheckpointFlow:
    """Make a flow whose steps tell their numbers."""
    cp = CheckpointFlow(path, handler)
    for number in range(STEPS):

        def step(state: dict[str, Any], number: int = number) -> None:
            report(number)
            state.setdefault("trail", []).append(number)
            state["filling"] = filling(number)

        cp.add_step(name=f"step {number}")(step)
    return cp


def run(path: Path, report: Callable[[object], None], *, fsync: bool) -> None:
    """Go on with the flow."""
    with handler_of(path, fsync=fsync) as handler:
        make_flow(path, report, handler).run()
    report(STEPS)


def store_first(place: Path, report: Callable[[object], None], *, fsync: bool) -> None:
    """Store first snapshots for ever, telling before the first and after each."""
    number = 0
    while True:
        report(number)
        handler = LocalStateHandler(nested(place, number), fsync=fsync)
        handler.write({"n": number, "filling": filling(number)})
        number += 1


def nested(place: Path, number: int) -> Path:
    """Give a path in directories of its own."""
    return place / str(number) / "deep" / "checkpoint.pkl"


def start(call: Callable[[Callable[[object], None]], None]) -> tuple[int, int]:
    """Start a child that does this; give its id, and the pipe through which it tells lines."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        work(call, writer)
    os.close(writer)
    return child, reader


def hear(reader: int, lines: int = sys.maxsize) -> bytes:
    """Read so many lines, or all there are; without blocking, all there are by now."""
    received = b""
    with contextlib.suppress(BlockingIOError):
        while received.count(b"\n") < lines and (more := os.read(reader, 4096)):
            received += more
    return received


def work(call: Callable[[Callable[[object], None]], None], writer: int) -> NoReturn:
    """Be the child: tell the class of a documented error, and show any other."""
    signal.alarm(PATIENCE)

    def report(message: object) -> None:
        os.write(writer, f"{message}\n".encode())

    status = 0
    try:
        call(report)
    except CheckpointError as error:
        report(type(error).__name__)
    except BaseException as error:  # noqa: BLE001
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
    os._exit(status)


@dataclass
class Cuts:
    """Cuts the power of a disk at random."""

    disk: Disk
    rng: random.Random

    def under(self, call: Callable[[Callable[[object], None]], None]) -> dict[str, Any]:
        """Cut it under a child, mount it again, and give what the child told and how it ended."""
        child, reader = start(call)
        early = hear(reader, self.rng.randint(1, MESSAGES))
        time.sleep(self.rng.choice([0, self.rng.uniform(0, LONGEST)]))
        os.set_blocking(reader, False)
        early += hear(reader)
        self.disk.cut()
        os.set_blocking(reader, True)
        late = hear(reader)
        os.close(reader)
        _, status = os.waitpid(child, 0)
        self.disk.unmount()
        self.disk.mount()
        return {"sure": numbers(early), "status": status} | account(early + late)


def numbers(received: bytes) -> list[int]:
    """Give the numbers among what was told."""
    return [int(word) for word in received.decode().split() if word.isdigit()]


def account(received: bytes) -> dict[str, Any]:
    """Give the numbers and the errors that were told."""
    errors = [word for word in received.decode().split() if not word.isdigit()]
    return {"told": numbers(received), "errors": errors}


def look(path: Path) -> dict[str, Any]:
    """Say what is stored: how far it is, -1 if nothing is; an error's class; what else is there."""
    seen: dict[str, Any] = {"stored": -1, "error": None, "sound": True, "left": []}
    if path.parent.is_dir():
        seen["left"] = sorted(entry.suffix for entry in path.parent.iterdir())
    try:
        with handler_of(path) as handler:
            header, state = handler.header(), handler.read()
    except CheckpointError as error:
        return seen | {"error": type(error).__name__}
    if header is None:
        return seen | {"sound": state == {}}
    if "n" in state:
        return seen | {"stored": 1, "sound": state["filling"] == filling(state["n"])}
    done = STEPS if header.finished else header.position
    trail = list(range(done))
    whole = filling(done - 1) if done else None
    sound = state.get("trail", []) == trail and state.get("filling") == whole
    return seen | {"stored": done, "sound": sound}


def cut_runs(cuts: Cuts, rounds: int, name: str, *, fsync: bool) -> list[dict[str, Any]]:
    """Cut the power under flows, and let the last one come to its end."""
    seen = list[dict[str, Any]]()
    number, before = 0, -1
    for _ in range(rounds):
        path = cuts.disk.place / str(number) / "deep" / name
        reported = cuts.under(partial(run, path, fsync=fsync))
        found = look(path)
        seen.append({"before": before, **reported, **found})
        before = found["stored"]
        if before == STEPS or not kept(seen[-1]):
            number, before = number + 1, -1
    path = cuts.disk.place / str(number) / "deep" / name
    at_last = list[object]()
    with handler_of(path, fsync=fsync) as handler:
        make_flow(path, at_last.append, handler).run()
    seen.append({"before": before, "told": at_last, **look(path)})
    return seen


def kept(one: dict[str, Any]) -> bool:
    """Say whether what was acknowledged in a round of a flow is stored, or the one after it.

    What was told after the cut may be one too many, as nobody can have relied on it.
    """
    sure, reported = one["sure"][-1], one["told"][-1]
    return one["sound"] and one["stored"] in range(max(sure, reported - 1), reported + 2)


def cut_firsts(cuts: Cuts, rounds: int, *, fsync: bool) -> list[dict[str, Any]]:
    """Cut the power under first snapshots; say of each that was begun what is there."""
    seen = list[dict[str, Any]]()
    for number in range(rounds):
        place = cuts.disk.place / str(number)
        reported = cuts.under(partial(store_first, place, fsync=fsync))
        found = [look(nested(place, begun)) for begun in reported["told"]]
        seen.append({**reported, "found": found})
        shutil.rmtree(place, ignore_errors=True)
    return seen


def main(disk: Disk, word: str, durable: str, rounds: int, seed: int) -> None:
    """Cut the power as often as asked for."""
    cuts = Cuts(disk, random.Random(seed))  # noqa: S311 - no secret
    names = {"run": "checkpoint.pkl", "database": "runs.db"}
    cut = partial(cut_runs, name=names[word]) if word in names else cut_firsts
    print(json.dumps(cut(cuts, rounds, fsync=durable == "fsync")))  # noqa: T201


if __name__ == "__main__":
    _, kind, directory, word, durable, count, start_value = sys.argv
    main(Disk(kind, Path(directory)), word, durable, int(count), int(start_value))
