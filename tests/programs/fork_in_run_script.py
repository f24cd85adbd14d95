"""A program that forks in the middle of a run: `fork_in_run_script.py WHAT METHOD PATH`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow, RunInProgressError

if TYPE_CHECKING:
    from collections.abc import Callable


def run(method: str, cp: CheckpointFlow) -> dict[str, Any]:
    """Run a flow through a method."""
    return cp.run({"trail": []}) if method == "run" else asyncio.run(cp.arun({"trail": []}))


def make_flow(path: Path, middle: Callable[[], None]) -> CheckpointFlow:
    """Make a flow of three sync steps, the second of which forks."""
    cp = CheckpointFlow(path)

    @cp.add_step()
    def a(state: dict[str, Any]) -> None:
        state["trail"].append("a")

    @cp.add_step()
    def b(state: dict[str, Any]) -> None:
        state["trail"].append("b")
        middle()

    @cp.add_step()
    def c(state: dict[str, Any]) -> None:
        state["trail"].append("c")

    return cp


def exit_at_once(method: str, path: Path) -> None:
    """Let the child end before the parent goes on, and see that the parent still has the lock."""
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    owner = None
    try:
        CheckpointFlow(path).reset()
    except RunInProgressError as error:
        owner = error.pid
    assert owner == os.getpid(), "the child's end has freed the parent's lock"


def unwind(method: str, path: Path) -> None:
    """Let the child leave by an exception, through all the library's own clean-up."""
    if os.fork() == 0:
        raise SystemExit(0)
    os.wait()
    assert path.exists()
    exit_at_once(method, path)


def run_in_child(method: str, path: Path) -> None:
    """Let the child run a flow of its own, with pools of its own."""
    if os.fork() == 0:
        code = 1
        try:
            other = make_flow(path.with_name("child.pkl"), lambda: None)
            code = 0 if run(method, other) == {"trail": [*"abc"]} else 2
        finally:
            os._exit(code)
    _, status = os.wait()
    assert status == 0, "the child could not run a flow"


def outlive(method: str, path: Path) -> None:
    """Kill the parent, and let the child live on until the test kills it."""
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    path.with_name("child").write_text(str(child), encoding="ascii")
    os.kill(parent, signal.SIGKILL)
    time.sleep(60)


def main() -> None:
    """Do what the arguments say, and print the final state."""
    what, method, path = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    operation = {"exit": exit_at_once, "unwind": unwind, "run": run_in_child, "outlive": outlive}[
        what
    ]
    state = run(method, make_flow(path, lambda: operation(method, path)))
    sys.stdout.write(f"{state}\n")


if __name__ == "__main__":
    main()
