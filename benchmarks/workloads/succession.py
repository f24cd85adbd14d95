"""The time from the SIGKILL of a run's owner to the next step of the run in another process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from aiocheckpoint import CheckpointFlow

__all__ = ["hold", "seconds_to_succession"]

_PATIENCE = 120.0
_CHILD = """
import ast, sys
from workloads.succession import hold

hold(sys.argv[1], ast.literal_eval(sys.argv[2]), sys.argv[3])
"""


def _flow(url: str, options: dict[str, Any], seconds: float) -> CheckpointFlow:
    flow = CheckpointFlow(url, name="succession", **options)

    def wait(state: dict[str, Any]) -> None:
        print("begun", flush=True)
        time.sleep(seconds)

    flow.add_step(name="wait")(wait)
    return flow


def hold(url: str, options: dict[str, Any], run_id: str) -> None:
    """Own a run until this process is killed, and print when its step has begun."""
    _flow(url, options, _PATIENCE).run({}, run_id=run_id)


async def seconds_to_succession(url: str, options: dict[str, Any], run_id: str) -> float:
    """Kill the owner of a run while this process waits for it, and give the time to its end here.

    Args:
        url: The store.
        options: Options of the handler.
        run_id: The run.
    """
    flow = _flow(url, options, 0.0)
    command = [sys.executable, "-c", _CHILD, url, repr(options), run_id]
    path = str(Path(__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([path, *filter(None, sys.path)])}
    child = subprocess.Popen(  # noqa: ASYNC220 - it is not waited for here
        command, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert child.stdout is not None
    await asyncio.to_thread(child.stdout.readline)
    waiting = asyncio.create_task(flow.aresume(run_id, wait=_PATIENCE))
    await asyncio.sleep(1.0)  # The waiter has looked at the living owner before.
    child.kill()
    begun = time.perf_counter()
    await waiting
    taken = time.perf_counter() - begun
    child.wait()
    child.stdout.close()
    return taken
