"""Checks of closing a handler, and of many runs by one handler, for every state handler."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiocheckpoint.flow import CheckpointFlow
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.testing._checking import (
    assert_refused,
    emptied,
    fresh,
    is_stored,
    must,
    store,
    store_under,
)

if TYPE_CHECKING:
    from aiocheckpoint.handlers import StateHandler
    from aiocheckpoint.testing._checking import Check, Make

__all__ = ["CLOSING_CHECKS"]

_RUNS = 200


def check_close(make: Make) -> None:
    """A closed handler has lost nothing, and opens again at its next use."""
    with fresh(make, "close", "later") as handler:
        header = store(handler, "close", "stopped")
        lock = handler.lock("close")
        lock.acquire()
        handler.close()
        if lock.held:
            assert_refused(make(), "close")
            lock.release()
        with make().locked("close") as other:
            lock.release()
            must(other.held, "a lock that close() released takes nothing from the next owner")
            store_under(other, make(), "close", "stopped")
        handler.close()
        handler.close()
        later = store(handler, "later")
        must(is_stored(make(), later), "a closed handler opens again at its next use")
        newest = handler.header("close")
        after = newest is not None and newest.sequence == header.sequence + 1
        must(after, "what was stored before close() is read behind it")


def check_many_at_once(make: Make) -> None:
    """200 runs at once by one handler under `arun` end, each with its own state."""
    run_ids = [f"at once {number}" for number in range(_RUNS)]
    with emptied(make, *run_ids) as handler:
        states = asyncio.run(_run_all(_flow(handler), run_ids))
        own = all(state == {"id": one, "n": 3} for one, state in zip(run_ids, states, strict=True))
        must(own, "each of many runs at once ends with its own state")
        stored = {header.run_id: header.status for header in make().runs(Query())}
        must(stored == dict.fromkeys(run_ids, "finished"), "each of them is stored as finished")
        read = all(make().read(one)["id"] == one for one in run_ids[::20])
        must(read, "each of many runs at once is stored with its own state")


async def _run_all(cp: CheckpointFlow, run_ids: list[str]) -> list[dict[str, Any]]:
    return await asyncio.gather(*(cp.arun({"id": one, "n": 0}, run_id=one) for one in run_ids))


def _flow(handler: StateHandler) -> CheckpointFlow:
    cp = CheckpointFlow("conformance", handler=handler, name=handler.flow or None)
    for name in ("one", "two", "three"):
        cp.add_step(name=name)(_count)
    return cp


async def _count(state: dict[str, Any]) -> None:
    await asyncio.sleep(0)
    state["n"] += 1


CLOSING_CHECKS: tuple[Check, ...] = (check_close, check_many_at_once)
"""Each check is called with `make`, see `check_handler`."""
