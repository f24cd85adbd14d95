"""A program whose run holds the interpreter: `held_interpreter_script.py PATH LEASE SECONDS`.

A path that ends in .db is that of a database. Any other is a file with `lock="lease"`.

It prints "held" in its step, calls C code that gives up the interpreter's lock to no other thread,
and prints how the run "x" ended: "done" or the name of its error.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from owner_script import say

from aiocheckpoint import CheckpointError, CheckpointFlow


def main(path: str, lease: str, seconds: str) -> None:
    """Run the flow."""
    place: dict[str, Any] = {"handler": "sqlite"} if path.endswith(".db") else {"lock": "lease"}
    cp = CheckpointFlow(path, lease=float(lease), **place)

    @cp.add_step()
    def b(state: dict[str, Any]) -> None:
        say("held")
        ctypes.PyDLL(None).usleep(int(float(seconds) * 1e6))
        state["trail"] = ["b of the owner"]

    try:
        cp.run({}, run_id="x" if path.endswith(".db") else None)
    except CheckpointError as error:
        say(type(error).__name__)
    else:
        say("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
