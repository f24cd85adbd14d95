"""A stream that is cancelled from outside, by every means: its runs end before it does."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from interrupts import WAYS, Gate

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from support import State

Following: TypeAlias = "Callable[[CheckpointFlow], Coroutine[Any, Any, None]]"


def make_flow(path: Path, gate: Gate) -> CheckpointFlow:
    """Make a flow whose second step is held in its thread until the gate is opened."""
    cp = CheckpointFlow(path, "sqlite", fsync=False)
    cp.add_step(name="a")(lambda state: state.update(a=1))

    @cp.add_step(name="b")
    def held(state: State) -> None:
        state["b"] = 1
        gate.hold()

    return cp


async def follow(cp: CheckpointFlow) -> None:
    """Follow the one run."""
    async with aclosing(cp.astream({}, run_id="one")) as events:
        async for _ in events:
            pass


async def run_many(cp: CheckpointFlow) -> None:
    """Do many runs, of which there is one."""
    await cp.amap({"one": {}})


async def resume(cp: CheckpointFlow) -> None:
    """Resume the one run, that was stopped behind its first step."""
    await cp.arun({}, run_id="one", until="a")
    await cp.aresume_all()


CASES = [(follow, way) for way in WAYS] + [
    (stream, way)
    for stream in (run_many, resume)
    for way in ("task-cancel-twice", "timeout-both", "anyio-group")
]


@pytest.mark.parametrize(("stream", "way"), CASES, ids=lambda one: getattr(one, "__name__", one))
async def test_cancelled_stream(stream: Following, way: str, tmp_path: Path) -> None:
    """However it is cancelled, the run has ended when the stream has, stored as cancelled."""
    gate = Gate(blocks=True)
    cp = make_flow(tmp_path / "runs.db", gate)
    before = asyncio.all_tasks()
    await WAYS[way](gate, lambda: stream(cp))
    assert gate.passed.is_set()
    assert asyncio.all_tasks() == before
    header = cp.header("one")
    assert header is not None
    assert (header.status, header.position) == ("cancelled", 1)
    assert await cp.arun(run_id="one") == {"a": 1, "b": 1}
