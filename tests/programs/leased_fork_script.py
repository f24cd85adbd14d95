"""A program that forks while a run on a leased store is in progress, and prints what both see."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

from memory_store import MemoryHandler, MemoryServer

from aiocheckpoint import CheckpointFlow

# The child gets a copy of the server: what it ends is not the parent's, but it can be counted.
server = MemoryServer()
handler = MemoryHandler(server, lease=5.0)
cp = CheckpointFlow("memory", handler=handler, name="memory")
inside, go_on = threading.Event(), threading.Event()


@cp.add_step()
def wait(state: dict[str, Any]) -> None:
    """Wait for the fork."""
    if state["waits"]:
        inside.set()
        go_on.wait()


def see() -> dict[str, Any]:
    """What this process sees of the server."""
    return {"sessions": len(server.sessions), "owners": len(server.tables.owners)}


thread = threading.Thread(target=cp.run, args=({"waits": True},), kwargs={"run_id": "parent's"})
thread.start()
inside.wait()
handler.count()
before = see()
lease = handler.lock("other")
lease.acquire()
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    held = lease.held
    owner_before = handler._client.owner_id  # noqa: SLF001
    cp.run({"waits": False}, run_id="child's")
    runs = handler.count()
    seen = {"held": held, "owner before": owner_before, "runs": runs, "then": see()}
    os.write(writing, json.dumps(seen).encode())
    os._exit(0)
os.waitpid(child, 0)
of_child = json.loads(os.read(reading, 1 << 16))
held = lease.held
lease.release()
go_on.set()
thread.join()
of_parent = {"held": held, "then": see(), "runs": handler.count("status")["finished"]}
handler.close()
closed = see()
print(json.dumps({"before": before, "child": of_child, "parent": of_parent, "closed": closed}))  # noqa: T201
