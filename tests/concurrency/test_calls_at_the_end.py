"""Finalizers that call the library while the interpreter is taken down: none waits for ever."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 60.0
PLACES = ["runs/", "sqlite:///runs.db"]
OUTCOMES = {
    "done",
    "NoThreadError",
    "StorageError",
    "ImportError",  # of asyncio, which has no loop yet, and Python imports no more modules
}
CALLS = {
    "run": "cp.run({'large': b'x' * 1_000_000}, run_id='late')",
    "arun": "asyncio.run(cp.arun({}, run_id='late'))",
    "runs": "cp.runs()",
    "write": "cp.handler.write({}, 'late')",
}

PROGRAM = """
import asyncio, gc, sys
from aiocheckpoint import CheckpointFlow

cp = CheckpointFlow(sys.argv[1])

@cp.add_step()
def in_thread(state):
    state["n"] = 1

@cp.add_step()
async def on_loop(state):
    await asyncio.sleep(0)

class Late:
    def __init__(self):
        self.me = self  # to be collected in the end

    def __del__(self):
        try:
            {call}
            print("done", flush=True)
        except Exception as error:
            print(type(error).__name__, flush=True)

if "warm" in sys.argv:
    asyncio.run(cp.arun({{}}, run_id="warm"))
gc.disable()
Late()
"""


@pytest.mark.parametrize("start", ["cold", "warm"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("place", PLACES)
def test_finalizer_at_the_end(place: str, call: str, start: str, tmp_path: Path) -> None:
    """A call that comes so late works, or raises an error."""
    program = PROGRAM.format(call=CALLS[call])
    done = subprocess.run(
        [sys.executable, "-c", program, place, start],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout.strip() in OUTCOMES, done.stderr
