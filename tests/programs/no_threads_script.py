"""Calls of a database where no thread can be started: `no_threads_script.py FOLDER`.

Started as root it becomes another user, because the limit does not hold for root. It prints the
name of each call, and the name of its error and "named" if the text has the path, or "done".
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owner_script import say

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY = 65534


def make_flow(path: Path) -> CheckpointFlow:
    """Make a flow."""
    cp = CheckpointFlow(path, "sqlite", fsync=False, keep=2)

    @cp.add_step()
    async def a(state: dict[str, Any]) -> None: ...

    return cp


def calls_of(path: Path) -> dict[str, Callable[[], Any]]:
    """Every call, each on a flow of its own."""

    def cp() -> CheckpointFlow:
        return make_flow(path)

    async def resume_all() -> None:
        async for _ in cp().aresume_all():
            pass

    return {
        "run": lambda: cp().run({}, run_id="x"),
        "arun": lambda: asyncio.run(cp().arun({}, run_id="x")),
        "once": lambda: cp().run({}, run_id="x", once=True),
        "plan": lambda: cp().plan(run_id="x"),
        "runs": lambda: cp().runs(),
        "header": lambda: cp().header("x"),
        "read": lambda: cp().read("x"),
        "aresume_all": lambda: asyncio.run(resume_all()),
        "patch": lambda: cp().patch({}, run_id="x"),
        "write": lambda: cp().handler.write({}, "x"),
        "reset": lambda: cp().reset(run_id="x"),
        "delete": lambda: cp().delete("x"),
        "prune": lambda: cp().prune(timedelta(0)),
        "close": cp().handler.close,
    }


def main(folder: Path) -> None:
    """Call everything, with threads to import what is imported late, and without."""
    for call in calls_of(folder / "first.db").values():
        call()
    calls = calls_of(folder / "runs.db")
    calls["run"]()
    for _ in make_flow(folder / "first.db"), make_flow(folder / "runs.db"):
        _.handler.close()
    if os.geteuid() == 0:
        for file in (folder, *folder.iterdir()):
            os.chown(file, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    for name, call in calls.items():
        try:
            call()
        except Exception as error:  # noqa: BLE001 - each is printed
            say(name, type(error).__name__, "named" if str(folder) in str(error) else repr(error))
        else:
            say(name, "done")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
