"""Interrupts the library by signal handlers and finalizers that call it again.

Signals come after random microseconds. The garbage collector runs at every chance, also in the
threads of snapshots and of steps, and finds cycles whose finalizers call the library.

Prints the number of calls from each place. Where it stands still, it shows where, and exits with 1.

    reentrant_script.py STORE DIRECTORY SECONDS SEED
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import json
import logging
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointError, CheckpointFlow
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

State = dict[str, Any]

PATIENCE = 30.0
SHORTEST, LONGEST = 0.00002, 0.003
LARGE = os.urandom(600_000)
IDS = ["a", "b", "c"]


class Depth(threading.local):
    """How deep calls are nested in this thread."""

    value = 0


class Caller:
    """Calls the library in the midst of its calls.

    Attributes:
        counts: The number of calls from each place, and of the errors of the library among them.
        unexpected: Errors that are not of the library.
    """

    def __init__(self, cp: CheckpointFlow, run_ids: list[str | None], seed: int) -> None:
        """Call a flow, for these runs."""
        self.cp = cp
        self.run_ids = run_ids
        self.counts = Counter[str]()
        self.unexpected: list[str] = []
        self.random = random.Random(seed)  # noqa: S311
        self._depth = Depth()
        self._ended = False

    def call(self, place: str) -> None:
        """Make some call, in the midst of another one."""
        if self._depth.value > 1 or self._ended:
            return
        with self._nested():
            name, function = self.random.choice(self._functions())
            try:
                function()
                self.counts[place] += 1
            except CheckpointError as error:
                self.counts[type(error).__name__] += 1
            except BaseException as error:  # noqa: BLE001
                self.unexpected.append(f"{name} in {place}: {error!r}")

    def litter(self, place: str) -> None:
        """Leave a cycle whose finalizer makes a call, for the next collection of garbage."""
        if self._depth.value == 0:
            Litter(self, f"finalizer {place}")

    def arm(self) -> None:
        """Let the next signal come."""
        if not self._ended:
            signal.setitimer(signal.ITIMER_REAL, self.random.uniform(SHORTEST, LONGEST))

    def handle(self, *_: object) -> None:
        """Handle a signal."""
        self.call("signal")
        self.arm()

    def end(self) -> None:
        """Make no more calls, and let no signal come when the interpreter is at its end."""
        self._ended = True
        signal.setitimer(signal.ITIMER_REAL, 0)

    @contextmanager
    def _nested(self) -> Generator[None]:
        self._depth.value += 1
        try:
            yield
        finally:
            self._depth.value -= 1

    def _functions(self) -> list[tuple[str, Callable[[], object]]]:
        cp, run_id = self.cp, self.random.choice(self.run_ids)
        state = {"n": self.random.random(), "large": LARGE if self.random.random() < 0.2 else b""}
        calls: list[tuple[str, Callable[[], object]]] = [
            ("run", lambda: cp.run(dict(state), run_id=run_id)),
            ("read", lambda: cp.read(run_id)),
            ("header", lambda: cp.header(run_id)),
            ("plan", lambda: cp.plan(run_id=run_id)),
            ("write", lambda: cp.handler.write(dict(state), run_id)),
            ("reset", lambda: cp.reset(run_id=run_id)),
        ]
        if run_id is not None:
            calls += [("runs", cp.runs), ("delete", lambda: cp.delete(run_id))]
        if hasattr(cp.handler, "close"):
            calls.append(("close", cp.handler.close))
        return calls


class Litter:
    """Garbage that calls the library when it is collected."""

    def __init__(self, caller: Caller, place: str) -> None:
        """Be a cycle."""
        self.caller, self.place, self.me = caller, place, self

    def __del__(self) -> None:
        """Make a call."""
        self.caller.call(self.place)


def make_flow(store: str, directory: str) -> CheckpointFlow:
    """Make a flow on a store."""
    if store == "memory":
        return CheckpointFlow("memory", MemoryStateHandler())
    paths = {"file": "c.pkl", "directory": "runs/", "sqlite": "runs.db"}
    handler = "sqlite" if store == "sqlite" else "local"
    return CheckpointFlow(f"{directory}/{paths[store]}", handler, fsync=False)


def add_steps(cp: CheckpointFlow, caller: Caller) -> None:
    """Add a step in a thread and one on the loop, which leave garbage behind."""

    @cp.add_step()
    def in_thread(state: State) -> None:
        caller.litter("in a step thread")
        state["in_thread"] = [object] and 1

    @cp.add_step()
    async def on_loop(state: State) -> None:
        caller.litter("on a loop")
        await asyncio.sleep(0)
        state["on_loop"] = {"n": [1, 2]}


async def run_all(cp: CheckpointFlow, caller: Caller) -> None:
    """Run many runs at once."""
    calls: list[Any] = []
    for number in range(6):
        run_id = caller.random.choice(caller.run_ids)
        state = {"n": number, "large": LARGE if number == 0 else b"", "kind": {number}}
        calls += [cp.arun(state, run_id=run_id), cp.aread(run_id)]
        calls += [cp.aruns()] if run_id is not None else []
    for found in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(found, BaseException) and not isinstance(found, CheckpointError):
            caller.unexpected.append(f"outer call: {found!r}")


def work_until(deadline: float, cp: CheckpointFlow, caller: Caller, place: str) -> None:
    """Make calls of every kind, on a loop and without."""
    while time.monotonic() < deadline:
        caller.litter(place)
        caller.call(place)
        asyncio.run(run_all(cp, caller))


def main(store: str, directory: str, seconds: float, seed: int) -> None:
    """Interrupt the library for some time."""
    faulthandler.dump_traceback_later(seconds + PATIENCE, exit=True)
    logging.getLogger("aiocheckpoint").setLevel(logging.CRITICAL)
    cp = make_flow(store, directory)
    caller = Caller(cp, [None] if store == "file" else [None, *IDS], seed)
    add_steps(cp, caller)
    asyncio.run(run_all(cp, caller))  # Imports are done.
    before = gc.get_threshold()
    gc.set_threshold(1)
    signal.signal(signal.SIGALRM, caller.handle)
    deadline = time.monotonic() + seconds
    other = threading.Thread(target=work_until, args=(deadline, cp, caller, "in a thread"))
    other.start()
    caller.arm()
    work_until(deadline, cp, caller, "in the main thread")
    caller.end()
    other.join()
    gc.set_threshold(*before)
    sys.stdout.write(json.dumps({"counts": caller.counts, "unexpected": caller.unexpected[:20]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
