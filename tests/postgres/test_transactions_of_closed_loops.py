"""Steps with a connection whose event loop is closed under them: their transactions are ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from payments import apay, until

from aiocheckpoint import current_step

if TYPE_CHECKING:
    from payments import Shop
    from support import State

OPEN = (
    "SELECT count(*) FROM pg_stat_activity WHERE xact_start IS NOT NULL "
    "AND datname = current_database() AND pid <> pg_backend_pid()"
)
kept: list[Any] = []
"""Tasks that somebody keeps, as a debugger or a traceback may. Collected ones end by themselves."""


def abandon(shop: Shop, hangs: str = "outside", **options: Any) -> Any:  # noqa: ANN401 - options of a flow
    """Close a loop under a step that has paid, and keep its task. Give the flow."""
    paid = asyncio.Event()

    async def step(state: State) -> None:
        await apay(state)
        if state["hangs"] == "in SQL":
            connection = await current_step().connection()
            asyncio.get_running_loop().call_later(0.2, paid.set)
            await connection.execute("SELECT pg_sleep(600)")
        elif state["hangs"]:
            paid.set()
            await asyncio.Event().wait()

    cp = shop.flow(step, **options)
    loop = asyncio.new_event_loop()
    kept.append(loop.create_task(cp.arun({"hangs": hangs}, run_id="lost")))
    loop.run_until_complete(paid.wait())
    loop.close()
    assert shop.sql(OPEN) == [(1,)]
    return cp


@pytest.mark.parametrize("hangs", ["outside", "in SQL"])
def test_close_of_the_handler(shop: Shop, hangs: str) -> None:
    """A handler that is closed rolls them back, and no connection stays in a transaction."""
    cp = abandon(shop, hangs)
    cp.handler.close()
    until(lambda: shop.sql(OPEN) == [(0,)])
    assert shop.paid() == {}
    kept.clear()


def test_next_transaction(shop: Shop) -> None:
    """The next step that asks for a connection gets theirs, though there is only one."""
    cp = abandon(shop, connections=1)
    cp.run({"hangs": ""}, run_id="next")
    until(lambda: shop.sql(OPEN) == [(0,)])
    assert shop.paid() == {("next", "step 0"): 1}
    kept.clear()
