"""Many cancelled runs of one database: each is stored at its step, without owner, and resumed."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest
from lease_owners import rows
from run_factories import UNFINISHED
from suspension_points import MOMENTS, outcome_of

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 100
STEPS = ("a", "b", "c")
LAST = {"trail": [*STEPS]}
OWNED = "SELECT run_id FROM runs WHERE owner IS NOT NULL"


def make_flow(path: Path, held: asyncio.Barrier | None = None) -> CheckpointFlow:
    """Make a flow whose second step waits at a barrier, if there is one."""
    cp = CheckpointFlow(path, "sqlite", fsync=False)
    for name in STEPS:

        async def step(state: dict[str, Any], name: str = name) -> None:
            state["trail"] = [*state["trail"], name]
            await (held.wait() if held and name == "b" else asyncio.sleep(0))

        cp.add_step(name=name)(lambda state, step=step: step(state))
    return cp


async def resume_all(cp: CheckpointFlow) -> int:
    """Resume all unfinished runs, check that each ends like an undisturbed one, and count them."""
    results = [result async for result in cp.aresume_all(status=UNFINISHED)]
    assert [result.state for result in results] == [LAST] * len(results)
    return len(results)


async def test_hundred_runs_cancelled_at_once(tmp_path: Path) -> None:
    """All of them are stored as cancelled in the step that was running."""
    path = tmp_path / "runs.db"
    held = asyncio.Barrier(COUNT + 1)  # never reached
    cp = make_flow(path, held)
    tasks = [asyncio.create_task(cp.arun({"trail": []}, run_id=str(n))) for n in range(COUNT)]
    while held.n_waiting < COUNT:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)
    headers = await cp.aruns("cancelled")
    assert len(headers) == COUNT
    assert {(one.position, one.failure and one.failure.step) for one in headers} == {(1, "b")}
    assert rows(path, OWNED) == []
    assert await resume_all(make_flow(path)) == COUNT


@pytest.mark.parametrize("seed", range(5))
async def test_runs_cancelled_at_random_times(seed: int, tmp_path: Path) -> None:
    """Runs cancelled at any time leave no owner, and every stored run can be resumed."""
    path, rng = tmp_path / "runs.db", random.Random(seed)  # noqa: S311
    cp = make_flow(path)
    threads = {thread.name for thread in threading.enumerate()}
    tasks = [asyncio.create_task(cp.arun({"trail": []}, run_id=str(n))) for n in range(COUNT)]
    for task in tasks:
        asyncio.get_running_loop().call_later(rng.random() * 0.05, task.cancel)
    await asyncio.wait(tasks)
    assert all(task.cancelled() or task.result() == LAST for task in tasks)
    assert rows(path, OWNED) == []
    unfinished = await cp.aruns(["running", "cancelled"])
    assert await resume_all(cp) == len(unfinished)
    new = {thread.name for thread in threading.enumerate()} - threads
    assert all(name.startswith("aiocheckpoint") for name in new)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_cancelled_at_every_point(moment: str, tmp_path: Path) -> None:
    """A run cancelled at any suspension point is cancelled, has no owner, and can be resumed."""
    path = tmp_path / "runs.db"
    cp = make_flow(path)
    await cp.arun({"trail": []}, run_id="first")
    for number in range(1, 100):
        run = cp.arun({"trail": []}, run_id=str(number))
        interrupter, task = await outcome_of(run, [number], MOMENTS[moment])
        assert task.cancelled() == bool(interrupter.interrupted)
        assert rows(path, OWNED) == []
        if not interrupter.interrupted:
            break
        assert await cp.arun({"trail": []}, run_id=str(number), once=True) == LAST
    assert number > len(STEPS)
