"""A flow of three steps that says what it did; run by the tests of the disk.

    python traced_run_script.py DIRECTORY run|arun fsync|no-fsync

Each step first notes its name in the file "effects" beside the directory. The last line printed
is JSON: the error, if one came out, and the number of snapshots acknowledged.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from aiocheckpoint import CheckpointError, CheckpointFlow
from aiocheckpoint.events import SnapshotWritten

STEPS = ("a", "b", "c")


def make_flow(place: Path, acknowledged: list[int], *, fsync: bool) -> CheckpointFlow:
    """Make the flow."""

    def hook(event: object) -> None:
        if isinstance(event, SnapshotWritten):
            acknowledged.append(event.position)

    cp = CheckpointFlow(place / "checkpoint.pkl", fsync=fsync, hooks=[hook])
    for name in STEPS:
        cp.add_step(name=name)(make_step(place, name))
    return cp


def make_step(place: Path, name: str) -> Any:  # noqa: ANN401
    """Make a step that leaves a note, outside, of having been run."""

    def step(state: dict[str, Any]) -> None:
        with (place.parent / "effects").open("a", encoding="ascii") as file:
            file.write(name)
        state.setdefault("trail", []).append(name)

    return step


def main(place: Path, method: str, durable: str) -> None:
    """Run the flow through the method, and print how it went."""
    acknowledged = list[int]()
    cp = make_flow(place, acknowledged, fsync=durable == "fsync")
    outcome: dict[str, Any] = {"error": None}
    try:
        state = cp.run({}) if method == "run" else asyncio.run(cp.arun({}))
        outcome["trail"] = state["trail"]
    except CheckpointError as error:
        outcome["error"] = type(error).__name__
        outcome["errno"] = getattr(error, "errno", None)
        outcome["path"] = getattr(error, "path", None)
    outcome["acknowledged"] = acknowledged
    print(json.dumps(outcome))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
