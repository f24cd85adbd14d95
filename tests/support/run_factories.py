"""Flows of many runs, on each kind of store that keeps them, and looks into a database."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support import FlowFactory

from aiocheckpoint import CheckpointFlow
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator
    from pathlib import Path

    from support import Runner, State

    from aiocheckpoint import Header, RunResult
    from aiocheckpoint._model.header import Status

PATIENCE = 60.0
KINDS = ("sqlite", "directory", "memory")
UNFINISHED: tuple[Status, ...] = ("running", "stopped", "failed", "cancelled")
"""For `aresume_all(status=UNFINISHED)`, which takes such runs whether they are due or not."""


@dataclass
class Runs(FlowFactory):
    """A factory whose flows have many runs.

    Attributes:
        kind: "sqlite", "memory", "directory" (of files), or "pattern" (files beside one).
        memory: The place of the last kind.
    """

    kind: str = "sqlite"
    memory: MemoryStateHandler = field(default_factory=MemoryStateHandler)

    @classmethod
    def at(cls, folder: Path, kind: str) -> Runs:
        """Make a factory in a folder."""
        names = {"sqlite": "runs.db", "directory": "runs", "pattern": "runs.pkl", "memory": "runs"}
        if kind == "directory":
            (folder / "runs").mkdir()
        return cls(folder / names[kind], kind=kind)

    @property
    def options(self) -> dict[str, Any]:
        """The options of a flow on this store."""
        if self.kind == "memory":
            return {"handler": self.memory}
        return {"handler": "sqlite" if self.kind == "sqlite" else "local", "fsync": False}

    def flow(self, *names: str, **options: Any) -> CheckpointFlow:  # noqa: ANN401 (passed on as is)
        """Make a flow of recording steps in this place."""
        return super().flow(*names, **{**self.options, **options})

    def forget(self) -> None:
        """Drop the recorded errors."""
        self.faults.clear()
        self.events.clear()

    def empty_flow(self, **options: Any) -> CheckpointFlow:  # noqa: ANN401 (passed on as is)
        """Make a flow in this place that has no steps yet."""
        return CheckpointFlow(self.path, **{**self.options, **options})


class ActiveRun:
    """A run that is held in its only step, in a thread of this process, until it is released."""

    def __init__(self, cp: CheckpointFlow, run_id: str | None, state: State | None = None) -> None:
        """Start it, and wait until it is in the step."""
        self._entered, self._free = threading.Event(), threading.Event()
        cp.add_step(name="hold")(self._hold)
        kwargs = {"run_id": run_id}
        self._thread = threading.Thread(target=cp.run, args=(state,), kwargs=kwargs)
        self._thread.start()
        assert self._entered.wait(PATIENCE)

    def _hold(self, state: State) -> None:
        self._entered.set()
        assert self._free.wait(PATIENCE)

    def end(self) -> None:
        """Let it come to its end."""
        self._free.set()
        self._thread.join(PATIENCE)


@contextmanager
def active_run(
    cp: CheckpointFlow, run_id: str | None, state: State | None = None
) -> Generator[None, None, None]:
    """Keep a run of a flow without steps running for the time of a `with` block."""
    one = ActiveRun(cp, run_id, state)
    try:
        yield
    finally:
        one.end()


def ids(headers: list[Header]) -> list[str | None]:
    """The run ids of headers, in their order."""
    return [header.run_id for header in headers]


def listed(runner: Runner, cp: CheckpointFlow, *args: object, **kwargs: object) -> list[str | None]:
    """The ids that a list of runs shows, through a runner."""
    return ids(runner.do(cp, "runs", *args, **kwargs))


async def resumed(cp: CheckpointFlow, limit: int = 100) -> dict[str | None, RunResult]:
    """Resume all, whether due or not; return the results by id, one for each."""
    found = [result async for result in cp.aresume_all(limit=limit, status=UNFINISHED)]
    by_id = {result.run_id: result for result in found}
    assert len(by_id) == len(found)
    return by_id


def resume_all(cp: CheckpointFlow, limit: int = 100) -> dict[str | None, RunResult]:
    """Do as `resumed` on a loop of its own."""
    return asyncio.run(resumed(cp, limit))


async def first(results: AsyncIterator[RunResult]) -> RunResult:
    """Take one result."""
    return await anext(results)


def sql(path: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Execute a statement on a database directly, without the library."""
    with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection:
        found = connection.execute(statement, values).fetchall()
        connection.commit()
    return found
