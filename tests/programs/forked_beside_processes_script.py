"""A program that forks while processes of a flow live: `forked_beside_processes_script.py PATH`.

The child runs a flow in processes of its own if the second argument is "runs", and leaves by
`sys.exit`. Its parent goes on in the same processes, and ends while they live.
"""

from __future__ import annotations

import os
import sys

import sent_steps

from aiocheckpoint import CheckpointFlow


def main(path: str, way: str) -> None:
    """Fork, and say how the child ended and whether the parent still has its process."""
    cp = CheckpointFlow(path + "/")
    cp.add_step(executor="process")(sent_steps.charge)
    first = cp.run({}, run_id="first")["process"]
    child = os.fork()
    if child == 0:
        if way == "runs":
            assert cp.run({}, run_id="child")["process"] not in {first, os.getpid()}
        sys.exit(3)
    _, status = os.waitpid(child, 0)
    same = cp.run({}, run_id="second")["process"] == first
    sys.stdout.write(f"{os.waitstatus_to_exitcode(status)} {same} {first}")


if __name__ == "__main__":
    main(*sys.argv[1:])
