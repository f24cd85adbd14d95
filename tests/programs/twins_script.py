"""Loops over runs that are held in their step, without an event loop of its own: WHAT PLACE."""

# ruff: noqa: T201 - it prints for its test
from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from plain_loops import HeldFlow, threads_of_loops, until

from aiocheckpoint import CheckpointFlow, StreamConsumedError

what, place = sys.argv[1:]
cp = CheckpointFlow(place, handler="local")
inside = list[int]()
runs: dict[str, dict[str, Any]] = {str(number): {} for number in range(3)}
if what == "stream":
    runs = {"0": {}}


@cp.add_step()
def first(state: dict[str, Any]) -> None:
    """Be done, or fail."""
    if state.get("quick"):
        raise ConnectionError


@cp.add_step()
async def second(state: dict[str, Any]) -> None:
    """Wait for ever, but in the test of forks."""
    inside.append(1)
    if len(inside) == len(runs):
        print("held", flush=True) if what != "fork" else None
    if what == "work":
        await asyncio.sleep(0.3)
        state["second"] = 1
    elif what != "fork":
        await asyncio.get_running_loop().create_future()


def interrupted() -> None:
    """Wait until Ctrl-C comes."""
    if what == "resume_all":
        stopped = HeldFlow(Path(place))
        stopped.store_stopped(runs)
    if what == "stream":
        stream: Any = cp.stream({}, run_id="0")
    else:
        stream = cp.map(runs) if what == "map" else cp.resume_all()
    try:
        for _ in stream:
            pass
    except KeyboardInterrupt:
        print("KeyboardInterrupt")
    print(*threads_of_loops() or ["none"])


def left_open() -> None:
    """End the main thread with an open stream, which a global name holds."""
    global kept  # noqa: PLW0603
    kept = cp.map({"quick": {"quick": True}, **runs})
    next(kept)
    until(lambda: len(inside) == len(runs))
    print("end", flush=True)


def forked() -> None:
    """Fork in the body of a loop."""
    results = cp.map(runs, limit=1)
    next(results)
    child = os.fork()
    if not child:
        print("child", flush=True)
        try:
            next(results)
        except StreamConsumedError as error:
            print(type(error).__name__, flush=True)
        del results
        sys.exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    print(1 + len(list(results)))


def worked() -> None:
    """Be a worker that a signal drains."""
    signal.signal(signal.SIGTERM, lambda *_: cp.drain())
    cp.submit({**runs, "quick": {"quick": True}})
    for result in cp.work():
        print(result.run_id, type(result.error).__name__, flush=True)
    print(*threads_of_loops() or ["none"])


kept: Any = None
if what == "work":
    worked()
elif what == "fork":
    forked()
elif what == "open":
    left_open()
else:
    interrupted()
