"""Runs a flow of gumly's once for each line of input, and answers with the microseconds of a step.

The worker is run by gumly's own interpreter, with the path of the state file, the number of steps
and the state as JSON. The first line of output has the versions. If the line is a number, the
answer is the steps per second, with the costs of the whole run. If it is "between", nothing is run,
and the answer is the microseconds from one step to the next in the last run.
"""

import gc
import json
import sys
import time
from importlib import import_module
from importlib.metadata import version
from typing import Any

NOTES: list[float] = []


def count(state: dict[str, Any], data: dict[str, Any]) -> None:
    """Do the least that changes the state, and note the time."""
    state["count"] += 1
    NOTES.append(time.perf_counter())


def make_flow(path: str, steps: int) -> Any:  # noqa: ANN401 - gumly has no types
    """Make a flow of the one step, many times."""
    flow = import_module("gumly.checkpoint_flow").CheckpointFlow(path)
    for _ in range(steps):
        flow.add_step()(count)
    return flow


def sample(flow: Any, state: dict[str, Any]) -> float:  # noqa: ANN401
    """Run all steps from a fresh state and give the microseconds of one."""
    NOTES.clear()
    state = dict(state)
    flow.run(state)
    assert state["count"] == len(NOTES)
    return between()


def between() -> float:
    """Give the microseconds from one step to the next in the last run."""
    return (NOTES[-1] - NOTES[0]) * 1e6 / (len(NOTES) - 1)


def rate(flow: Any, state: dict[str, Any]) -> float:  # noqa: ANN401
    """Run all steps from a fresh state and give how many there were in a second."""
    begun = time.perf_counter()
    sample(flow, state)
    return len(NOTES) / (time.perf_counter() - begun)


def main() -> None:
    """Answer line by line until the input ends."""
    path, steps, state = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    flow = make_flow(path, steps)
    sample(flow, state)
    gc.collect()
    gc.freeze()
    print(json.dumps({name: version(name) for name in ("gumly", "pandas")}), flush=True)
    for line in sys.stdin:
        if line.strip() == "between":
            print(between(), flush=True)
        elif line.strip().isdigit():
            print(rate(flow, state), flush=True)
        else:
            print(sample(flow, state), flush=True)


if __name__ == "__main__":
    main()
