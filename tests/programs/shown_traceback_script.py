"""A script whose step breaks, as a user would write it. Run by python, or by pytest.

Usage: python shown_traceback_script.py <checkpoint> <sync|async>
"""

from __future__ import annotations

import os
import sys
from typing import Any

from aiocheckpoint import CheckpointFlow

State = dict[str, Any]


def make_flow(place: str, kind: str) -> CheckpointFlow:
    """Make a flow of one step that breaks."""
    cp = CheckpointFlow(place)

    def broken(state: State) -> None:
        state["x"] = 1 / state["rows"]

    async def abroken(state: State) -> None:
        broken(state)

    cp.add_step(name="s")(abroken if kind == "async" else broken)
    return cp


def test_step() -> None:
    """Break in a step, under pytest."""
    make_flow(os.environ["PLACE"], "sync").run({"rows": 0})


def test_own_error() -> None:
    """Give a state that is none, under pytest."""
    make_flow(os.environ["PLACE"], "sync").run(3)  # type: ignore[arg-type]


if __name__ == "__main__":
    make_flow(*sys.argv[1:]).run({"rows": 0})
