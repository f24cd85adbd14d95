"""A run cancelled in every part by every means: the exception, the snapshot and the resume."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from held_runs import HOLD_POINTS, NAMES, HeldRun, OwnHandler, check_resumes, state_after
from interrupts import WAYS

if TYPE_CHECKING:
    from pathlib import Path


def check_left(held_run: HeldRun) -> None:
    """Check that the stored snapshot is whole, and records the cancellation."""
    place = held_run.place
    if isinstance(held_run.handler, OwnHandler):
        kept = {} if place.position is None else state_after(place.position)
        assert {**held_run.handler.kept, "checkpoint_index": 0} == {**kept, "checkpoint_index": 0}
        return
    header = held_run.header()
    if place.position is None:
        assert header is None
        return
    assert header is not None
    assert (header.position, header.status) == (place.position, place.status)
    failure = header.failure
    assert (failure and failure.part) == place.part
    step = NAMES[0] if place.position == 0 else "b"
    assert failure is None or (failure.step, failure.type[-14:]) == (step, "CancelledError")
    done = len(NAMES) if place.status == "finished" else place.position
    assert held_run.handler.read() == {**state_after(done), "checkpoint_index": place.position}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", HOLD_POINTS)
async def test_cancelled_run(place: str, way: str, tmp_path: Path) -> None:
    """One cancellation is raised after all work has ended, and the next run resumes."""
    held_run = HeldRun(tmp_path / "checkpoint.pkl", HOLD_POINTS[place])
    before = asyncio.all_tasks()
    await WAYS[way](held_run.latch, held_run.start)
    assert held_run.latch.passed.is_set() == (held_run.latch.blocks and not held_run.items)
    assert asyncio.all_tasks() == before
    held_run.clear()
    check_left(held_run)
    await check_resumes(held_run)
