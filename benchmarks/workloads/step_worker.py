"""The process that `displays.py` starts for the cost of a step: runs flows of small steps.

Arguments: a directory, and how many runs to measure. It prints the CPU time of a step in
microseconds, in all threads. Nothing is flushed. The library is that of the variable PYTHONPATH.
"""

import statistics
import sys
import time
from pathlib import Path

from workloads.timed_runs import SyncRuns, Timer

__all__ = ["STEPS"]

STEPS = 50
"""How many steps a run has."""


def main() -> None:
    """Measure, and print it."""
    directory, runs = Path(sys.argv[1]), int(sys.argv[2])
    timer = Timer(directory / "steps.pkl", STEPS, SyncRuns(time.process_time), fsync=False)
    timer.sample()  # imports and caches
    print(statistics.median(timer.sample() for _ in range(runs)))


if __name__ == "__main__":
    main()
