"""A provider that is down for minutes ends no run that goes through once it is back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wall_clock import WallClock

from aiocheckpoint import Terminate

if TYPE_CHECKING:
    import pytest
    from run_factories import Runs
    from support import State

DOWN_SECONDS = 600.0
"""Ten minutes."""
COUNT = 30


async def test_ten_minutes(database: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """All runs go through, tried no more than ten times each. A declined one is asked for once."""
    clock, tries = WallClock(monkeypatch), dict[str, int]()
    back_at = clock.now() + DOWN_SECONDS
    cp = database.empty_flow()

    @cp.add_step()
    async def pay(state: State) -> None:
        tries[state["who"]] = tries.get(state["who"], 0) + 1
        if state["who"] == "declined":
            raise Terminate("the card was declined")
        await asyncio.sleep(0)
        if clock.now() < back_at:
            raise ConnectionError("the provider is down")

    ids = [f"order-{number}" for number in range(COUNT)]
    await cp.asubmit({one: {"who": one} for one in (*ids, "declined")})
    for _ in range(200):
        async for _ in cp.awork(until_empty=True):
            pass
        waiting = [header.due for header in await cp.aruns("failed")]
        if not waiting:
            break
        clock.advance_to(max(min(due or 0.0 for due in waiting), clock.now() + 10.0))
    counts = {status: count for status, count in (await cp.acount(by="status")).items() if count}
    assert counts == {"finished": COUNT, "terminated": 1}
    assert tries.pop("declined") == 1
    assert 5 <= min(tries.values()) <= max(tries.values()) <= 10
