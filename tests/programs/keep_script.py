"""Runs a flow that keeps its snapshots; prints its exception, and the executed steps.

python keep_script.py DIRECTORY
"""

from __future__ import annotations

import sys
from pathlib import Path

from aiocheckpoint import CheckpointFlow, StorageError


def main(place: Path) -> None:
    """Run the flow and print its outcome."""
    ran: list[str] = []
    cp = CheckpointFlow(place / "checkpoint.pkl", keep=3, fsync=False)
    cp.add_step(name="a")(lambda state: ran.append("a"))
    try:
        cp.run({})
    except StorageError as error:
        print(type(error).__name__, error.errno, ran, error)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
