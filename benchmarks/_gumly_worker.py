"""Runs a flow of gumly's once for each line of input, and answers with the seconds it took.

Run by gumly's own interpreter, with the path of the state file, the number of steps and the state
as JSON. The first line of output tells the versions.
"""

import gc
import json
import sys
import time
from importlib import import_module
from importlib.metadata import version
from typing import Any


def count(state: dict[str, Any], data: dict[str, Any]) -> None:
    """Do the least that changes the state."""
    state["count"] += 1


def make_flow(path: str, steps: int) -> Any:  # noqa: ANN401 - gumly has no types
    """Make a flow of the one step, many times."""
    flow = import_module("gumly.checkpoint_flow").CheckpointFlow(path)
    for _ in range(steps):
        flow.add_step()(count)
    return flow


def timed_run(flow: Any, steps: int, state: dict[str, Any]) -> float:  # noqa: ANN401
    """Run all steps from a fresh state and give the seconds."""
    state = dict(state)
    begun = time.perf_counter()
    flow.run(state)
    seconds = time.perf_counter() - begun
    assert state["count"] == steps
    return seconds


def main() -> None:
    """Answer line by line until the input ends."""
    path, steps, state = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    flow = make_flow(path, steps)
    timed_run(flow, steps, state)
    gc.collect()
    gc.freeze()
    print(json.dumps({name: version(name) for name in ("gumly", "pandas")}), flush=True)
    for _ in sys.stdin:
        print(timed_run(flow, steps, state), flush=True)


if __name__ == "__main__":
    main()
