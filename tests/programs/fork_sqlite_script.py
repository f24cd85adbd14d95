"""Fork a process that uses a database: PLACE WAY. The child runs after the parent has ...

PLACE is a path of SQLite, or a URL. WAY is "closed" (closed its handler), "ended", "kept" (kept it
open), or "busy", where another thread of the parent commits at the time of the fork, and several
children run. Each child prints "ok".
"""

from __future__ import annotations

import os
import sys
import threading
import time

from aiocheckpoint import CheckpointFlow

place, way = sys.argv[1:3]
CHILDREN = 8 if way == "busy" else 1


def make_flow() -> CheckpointFlow:
    """Make a flow of one step."""
    cp = CheckpointFlow(place, "local" if "://" in place else "sqlite", name="f")
    cp.add_step(name="a")(lambda state: None)
    return cp


def work(done: threading.Event) -> None:
    """Commit without a pause."""
    number = 0
    while not done.is_set():
        cp.run({}, run_id=f"beside {number}")
        number += 1


def live(number: int) -> None:
    """Run as a child does, with the parent's flow and one of its own."""
    time.sleep(0.3)
    for flow in (cp, make_flow()):
        flow.run({}, run_id=f"child {number}")
        assert f"child {number}" in {header.run_id for header in flow.runs()}
    cp.handler.close()
    os.write(1, b"ok\n")
    os._exit(0)


cp = make_flow()
cp.run({}, run_id="before")
cp.runs()
done = threading.Event()
beside = threading.Thread(target=work, args=(done,))
if way == "busy":
    beside.start()
for number in range(CHILDREN):
    if os.fork() == 0:
        live(number)
if way == "closed":
    cp.handler.close()
if way == "ended":
    os._exit(0)
if way == "busy":
    time.sleep(1.0)
    done.set()
    beside.join()
for _ in range(CHILDREN):
    os.wait()
cp.run({}, run_id="after")
cp.handler.close()
