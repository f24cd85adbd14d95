"""The order service in two processes on one port: repeated requests, conflicts, a killed one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from order_clients import check_books, make_order, make_orders, place_order, serve_all, until
from order_processes import PATIENCE, Shop, Workers, open_shop

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Generator[Shop]:
    """Give a shop that is open for all tests, each with orders of its own."""
    with open_shop(tmp_path_factory.mktemp("shop"), in_workers=True) as opened:
        yield opened


def answering(shop: Shop, *, at_least: int = 2) -> list[int]:
    """Wait until so many processes answer, and give their ids."""
    assert isinstance(shop.orders, Workers)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if len(found := shop.orders.workers()) >= at_least:
            return found
        time.sleep(0.02)
    raise AssertionError(found)


async def test_repeated_requests(shop: Shop) -> None:
    """A request that comes many times, at once and later, has one result, whoever answers."""
    order = make_order("repeated")
    assert len(answering(shop)) == 2
    async with shop.client(stays=False) as client:
        asking = [client.post("/orders", json=order) for _ in range(20)]
        answers = await asyncio.gather(*asking)
        answers += await asyncio.gather(*(client.post("/orders", json=order) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert len(shop.asked("repeated")) == 1


async def test_another_body_and_a_mistyped_id(shop: Shop) -> None:
    """Another order under the same id is a conflict, also while the first is under way."""
    first, other = make_order("taken"), make_order("taken", 3)
    async with shop.client(stays=False) as client:
        with shop.payments.suspended():
            placing = asyncio.create_task(client.post("/orders", json=first))
            await until(client, "taken", step="charge")
            early = [await client.post("/orders", json=other) for _ in range(4)]
        assert (await placing).status_code == 200
        late = [await client.post("/orders", json=other) for _ in range(4)]
        mistyped = [
            await client.post("/orders/takne/approve", json={"by": "Ann"}),
            await client.get("/orders/takne"),
        ]
        finished = await client.post("/orders/taken/approve", json={"by": "Ann"})
        absent = await client.get("/orders/takne")
    assert {answer.status_code for answer in (*early, *late)} == {409}
    assert early[0].json() == late[0].json() == {"detail": "another order has this id"}
    assert [answer.status_code for answer in (*mistyped, absent)] == [404] * 3
    assert finished.status_code == 409
    assert len(shop.asked("taken")) == 1


async def test_approval_by_whichever_process(shop: Shop) -> None:
    """An order that one process has paused is approved once, by whichever is asked."""
    async with shop.client(stays=False) as client:
        placed = await client.post("/orders", json=make_order("approved", 500))
        assert (placed.status_code, placed.json()["status"]) == (202, "paused")
        path, by = "/orders/approved/approve", {"by": "Ann"}
        answers = await asyncio.gather(*(client.post(path, json=by) for _ in range(6)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 5}
    assert len(shop.asked("approved")) == 1


async def test_order_that_is_ended_by_whichever_process(shop: Shop) -> None:
    """Orders that are being paid end for good, whichever process is asked, and stay so."""
    orders, because = make_orders("ended", 4), {"reason": "ordered twice"}
    paths = [f"/orders/{order['id']}" for order in orders]
    async with shop.client(stays=False) as client:
        with shop.payments.suspended():
            placing = [asyncio.create_task(client.post("/orders", json=order)) for order in orders]
            for order in orders:
                await until(client, order["id"], step="charge")
            asking = [client.post(f"{path}/terminate", json=because) for path in paths]
            ended = await asyncio.gather(*asking)
            placed = await asyncio.gather(*placing)
        again = [await client.post("/orders", json=order) for order in orders]
    assert [(one.status_code, one.json()["status"]) for one in ended] == [(200, "terminated")] * 4
    refused = [(one.status_code, one.json()["detail"]) for one in (*placed, *again)]
    assert refused == [(410, because["reason"])] * 8


async def test_killed_process(tmp_path: Path) -> None:
    """One process is killed under load. The other takes its orders when they are asked for."""
    with open_shop(tmp_path, in_workers=True) as own:
        orders = make_orders("order", 40)

        def kill_one() -> None:
            os.kill(answering(own)[0], signal.SIGKILL)

        await serve_all(own, orders, 20, {10}, kill_one)
        async with own.client(stays=False) as client:
            reported = Counter[str]()
            await asyncio.gather(*(place_order(client, order, reported) for order in orders))
        assert reported == {"200": 40}
        check_books(own, orders)
