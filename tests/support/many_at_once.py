"""Executes many keyed runs in one process."""

from __future__ import annotations

import asyncio
from typing import Any

from aiocheckpoint import CheckpointFlow


async def do_many(place: str, count: int) -> None:
    """Execute so many runs side by side, and check that each has its own snapshot."""
    cp = CheckpointFlow(place, fsync=False)

    @cp.add_step()
    async def double(state: dict[str, Any]) -> None:
        state["twice"] = 2 * state["n"]

    @cp.add_step()
    async def name(state: dict[str, Any]) -> None:
        state["name"] = f"run {state['n']}"

    runs = [cp.arun({"n": n}, run_id=f"order-{n}") for n in range(count)]
    expected = [{"n": n, "twice": 2 * n, "name": f"run {n}"} for n in range(count)]
    assert await asyncio.gather(*runs) == expected
    headers = await cp.aruns("finished")
    assert {header.run_id for header in headers} == {f"order-{n}" for n in range(count)}
    assert [result async for result in cp.aresume_all()] == []
    for n in range(0, count, count // 20):
        assert await cp.aread(f"order-{n}") == {**expected[n], "checkpoint_index": 0}
    assert len(headers) == count
