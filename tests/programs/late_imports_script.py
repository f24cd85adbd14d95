"""Prints what a run imports behind the begin of its first step: PLACE METHOD WAY.

The ways are the keys of `WAYS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

from aiocheckpoint import CheckpointFlow, Pause

WAYS: dict[str, dict[str, Any]] = {
    "fails": {"error": OSError("broken")},
    "fails-told": {"error": OSError("broken"), "hooks": [str]},
    "fails-again": {"error": OSError("broken"), "retry": 2},
    "pauses": {"error": Pause("waits")},
    "unstorable": {"value": sys.stdout},
    "signed": {"error": OSError("broken"), "secret": "x" * 32},
}


def flow(place: str, loaded: set[str], way: dict[str, Any]) -> CheckpointFlow:
    """Make a flow whose first step notes what is imported, and whose second does what it shall."""
    options = {name: way[name] for name in ("hooks", "secret") if name in way}
    cp = CheckpointFlow(place, **options)

    @cp.add_step()
    async def note(state: dict[str, Any]) -> None:
        loaded.update(sys.modules)

    @cp.add_step(retry=way.get("retry"))
    async def go_on(state: dict[str, Any]) -> None:
        state["value"] = way.get("value")
        if "error" in way:
            raise way["error"]

    return cp


async def follow(cp: CheckpointFlow) -> None:
    """Take the events of one run."""
    async for _ in cp.astream({}):
        pass


def main(place: str, method: str, way: str) -> None:
    """Do one run, and print the names."""
    loaded: set[str] = set()
    cp = flow(place, loaded, WAYS[way])
    with contextlib.suppress(OSError, TypeError):
        if method == "run":
            cp.run({})
        else:
            asyncio.run(follow(cp) if method == "astream" else cp.arun({}))
    assert loaded, "the first step did not run"
    sys.stdout.write(" ".join(sorted(set(sys.modules) - loaded)))


if __name__ == "__main__":
    main(*sys.argv[1:])
