"""A process of a release of a flow, which may be killed in a step.

    python release_script.py PLACE LOG VERSION die|live

The run "x" goes on. LOG gets a line for each call of `migrate` and each step.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from aiocheckpoint import CheckpointFlow


def main(place: str, log: Path, version: int, *, dies: bool) -> None:
    """Run all steps, or die in the second."""

    def note(line: str) -> None:
        with log.open("a") as file:
            file.write(f"{line}\n")

    def migrate(state: dict[str, Any], of: int) -> str:
        note(f"migrate {sorted(state)} {of}")
        state["who"] = state.pop("name")
        return "pay"

    def step(name: str) -> Any:  # noqa: ANN401
        def run(state: dict[str, Any]) -> None:
            note(f"{name} {sorted(state)}")
            if dies and name in {"charge", "pay"}:
                os.kill(os.getpid(), signal.SIGKILL)

        return run

    cp = CheckpointFlow(place, name="release", version=version, migrate=migrate, fsync=False)
    for name in ("fetch", "charge") if version == 1 else ("get", "check", "pay"):
        cp.add_step(name=name)(step(name))
    cp.run({"name": "Ann"}, run_id="x")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), dies=sys.argv[4] == "die")
