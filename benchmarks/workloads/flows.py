"""Flows for many runs: with steps that count, or with a step that waits among them."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from aiocheckpoint import CheckpointFlow
from workloads.shapes import small_state

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from aiocheckpoint import HandlerOptions
    from workloads.waiting import Latch, WaitingRun

__all__ = [
    "bare_wait",
    "close_databases",
    "counting_flow",
    "counting_run",
    "database",
    "snapshot_size",
    "waiting_run",
    "workplace",
]


def database(directory: Path, name: str) -> str:
    """Give the URL of a SQLite database in a directory."""
    return f"sqlite:///{directory / name}.db"


def close_databases(directory: Path) -> None:
    """Close the databases before their directory is removed, instead of at exit."""
    for path in directory.glob("*.db"):
        CheckpointFlow(database(directory, path.stem)).handler.close()


@contextmanager
def workplace(parent: Path | None) -> Generator[tuple[Path, asyncio.Runner], None, None]:
    """Give a temporary directory and a runner. At the end the databases in it are closed.

    Args:
        parent: Where the directory is made. None is the system's temporary directory.
    """
    with tempfile.TemporaryDirectory(dir=parent) as name:
        directory = Path(name)
        try:
            with asyncio.Runner() as runner:
                yield directory, runner
        finally:
            close_databases(directory)


def counting_flow(
    place: str | Path, steps: int, **options: Unpack[HandlerOptions]
) -> CheckpointFlow:
    """Give a flow with as many steps that only count."""
    flow = CheckpointFlow(place, name="orders", **options)
    for number in range(steps):
        flow.add_step(name=f"step {number}")(_add_one)
    return flow


def counting_run(
    place: str | Path, steps: int, **options: Unpack[HandlerOptions]
) -> Callable[[str], Awaitable[None]]:
    """Give a function that does the run of an id, with as many steps that only count."""
    flow = counting_flow(place, steps, **options)

    async def run(run_id: str) -> None:
        state = small_state()
        await flow.arun(state, run_id=run_id)
        assert state["count"] == steps

    return run


def waiting_run(place: str | Path, steps: int, latch: Latch) -> WaitingRun:
    """Give a function that does the run of an id. The second step waits at a latch."""

    async def wait(state: dict[str, Any]) -> None:
        await latch.wait()

    flow = CheckpointFlow(place, name="orders that wait")
    for number in range(steps):
        flow.add_step(name=f"step {number}")(wait if number == 1 else _add_one)
    return lambda run_id, state: flow.arun(state, run_id=run_id)


def bare_wait(latch: Latch) -> WaitingRun:
    """Give a function that waits at a latch without the library."""

    async def wait(run_id: str, state: dict[str, Any]) -> None:
        await latch.wait()

    return wait


def snapshot_size(directory: Path) -> int:
    """Give the bytes of a snapshot after a step."""
    path = directory / "size" / "checkpoint.pkl"
    flow = CheckpointFlow(path, name="orders")
    for number in range(2):
        flow.add_step(name=f"step {number}")(_add_one)
    flow.run(small_state(), run_id="order-0-1000", until=0)
    (file,) = path.parent.glob("*.pkl")
    return file.stat().st_size


async def _add_one(state: dict[str, Any]) -> None:
    state["count"] += 1
