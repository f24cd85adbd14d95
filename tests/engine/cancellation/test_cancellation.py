"""A run cancelled in every part by every means: what comes out, what is left, how it resumes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from interrupts import WAYS
from scenes import NAMES, PLACES, OwnHandler, Scene, check_resumes, state_after

if TYPE_CHECKING:
    from pathlib import Path


def check_left(scene: Scene) -> None:
    """See that what is stored is whole, and tells of the cancellation."""
    place = scene.place
    if isinstance(scene.handler, OwnHandler):
        kept = {} if place.position is None else state_after(place.position)
        assert {**scene.handler.kept, "checkpoint_index": 0} == {**kept, "checkpoint_index": 0}
        return
    header = scene.header()
    if place.position is None:
        assert header is None
        return
    assert header is not None
    assert (header.position, header.status) == (place.position, place.status)
    failure = header.failure
    assert (failure and failure.part) == place.part
    assert failure is None or (failure.step, failure.type[-14:]) == ("b", "CancelledError")
    done = len(NAMES) if place.status == "finished" else place.position
    assert scene.handler.read() == {**state_after(done), "checkpoint_index": place.position}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", PLACES)
async def test_cancelled_run(place: str, way: str, tmp_path: Path) -> None:
    """One cancellation comes out when all work has ended, and the next run resumes."""
    scene = Scene(tmp_path / "checkpoint.pkl", PLACES[place])
    before = asyncio.all_tasks()
    await WAYS[way](scene.gate, scene.start)
    assert scene.gate.passed.is_set() == (scene.gate.blocks and not scene.jobs)
    assert asyncio.all_tasks() == before
    scene.clear()
    check_left(scene)
    await check_resumes(scene)
