"""A small flow, for an environment that holds the library and nothing else.

Run it with: python tests/programs/smoke.py DIRECTORY [break]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from aiocheckpoint import CheckpointFlow

State = dict[str, Any]

where, breaks = Path(sys.argv[1]), "break" in sys.argv[2:]
cp = CheckpointFlow(where / "checkpoint.pkl")


@cp.add_step()
def count(state: State) -> None:
    """Note each execution of this step."""
    with (where / "counted.txt").open("a") as file:
        file.write("once\n")
    state["numbers"] = [1, 2, 3]


@cp.add_step()
async def add(state: State) -> None:
    """Fail on request, else add up the results of the step before."""
    if breaks:
        raise ConnectionError
    state["sum"] = sum(state["numbers"])


sys.stdout.write(f"{cp.run()['sum']}\n")
