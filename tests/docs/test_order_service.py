"""The example of an order service: killed, drained, paused, and without its payments."""

from __future__ import annotations

import asyncio
import importlib
import json
import shlex
import time
from typing import TYPE_CHECKING

import pytest
from locations import EXAMPLES
from order_clients import (
    STREAM,
    check_books,
    check_drained,
    lines_of,
    make_order,
    make_orders,
    runs_of,
    serve_all,
    until,
)
from order_processes import COMMANDS, PATIENCE, Shop, httpx, open_shop

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Generator[Shop]:
    """Give a shop that is open for all tests, each with orders of its own."""
    with open_shop(tmp_path_factory.mktemp("shop")) as opened:
        yield opened


def await_running(shop: Shop, number: int) -> None:
    """Wait until so many orders are in progress, for as long as there is hope."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if sum(run.status == "running" for run in runs_of(shop)) >= number:
            return
        time.sleep(0.01)


async def test_killed_under_load(tmp_path: Path) -> None:
    """Killed twice among sixty orders, the service does each of them once."""
    with open_shop(tmp_path) as own:
        orders = make_orders("order", 60)

        def kill() -> None:
            """Kill it in the midst of several orders, also on a busy machine."""
            await_running(own, 5)
            own.orders.restart()

        reported = await serve_all(own, orders, 20, {10, 35}, kill)
        check_books(own, orders)
        assert sum(reported.values()) > reported["200"], "no client noticed that it was killed"
        assert reported["left to the worker"] > 0, "the worker has had nothing to do"


async def test_ended_under_load(tmp_path: Path) -> None:
    """Stopped among sixty orders, the service refuses some and stops some; no step runs twice."""
    with open_shop(tmp_path) as own:
        orders = make_orders("order", 60)

        def replace() -> None:
            """End it in the midst of an order, also on a busy machine."""
            await_running(own, 1)
            own.orders.replace()

        reported = await serve_all(own, orders, 20, {10, 35}, replace)
        check_books(own, orders)
        check_drained(own, reported)


async def test_story(shop: Shop) -> None:
    """The commands of the story place an order, and show that it is done."""
    place, look = (shlex.split(line) for line in COMMANDS if line.startswith("curl"))
    path, reported = place[-1].partition("/")[2], json.loads(place[2])
    async with shop.client() as client:
        placed = await client.post(path, json=reported)
        shown = await client.get(look[-1].partition("/")[2])
    assert (placed.status_code, shown.status_code) == (200, 200)
    assert placed.json() == shown.json()
    assert placed.json()["status"] == "finished"
    assert placed.json()["order"].items() >= reported.items()


async def test_request_tried_again(shop: Shop) -> None:
    """Requests of one id, at once and afterwards, are answered alike, and it is paid once."""
    order = make_order("tried-again")
    async with shop.client() as client:
        asking = [client.post("/orders", json=order) for _ in range(5)]
        answers = [*await asyncio.gather(*asking), await client.post("/orders", json=order)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert len(shop.asked("tried-again")) == 1


async def test_approval(shop: Shop) -> None:
    """A large order waits unpaid, over a kill as well. Once approved it resumes, and only once."""
    order, by = make_order("large", 500), {"by": "Ann"}
    async with shop.client(stays=False) as client:
        placed = await client.post("/orders", json=order)
        shop.orders.restart()
        waiting = await until(client, "large", status="paused")
        again = await client.post("/orders", json=order)
        assert (placed.status_code, again.status_code) == (202, 202)
        assert placed.json() == waiting
        assert again.json() == {**waiting, "attempts": {"approve": 2}}
        assert (waiting["step"], waiting["waits_for"]) == ("approve", "waiting for approval")
        assert shop.asked("large") == []
        approved = await client.post("/orders/large/approve", json=by)
        twice = await client.post("/orders/large/approve", json=by)
    assert (approved.status_code, twice.status_code) == (200, 409)
    assert approved.json()["status"] == "finished"
    assert approved.json()["order"]["approved_by"] == "Ann"
    assert len(shop.asked("large")) == 1


async def test_payments_are_down(shop: Shop) -> None:
    """An order whose payment is refused is tried again, and is done when the payments answer."""
    async with shop.client() as client:
        shop.payments.kill()
        placing = asyncio.create_task(client.post("/orders", json=make_order("down")))
        found = await until(client, "down", tries=2)
        assert (found["status"], found["step"]) == ("running", "charge")
        shop.payments.start()
        answer = await placing
    assert (answer.status_code, answer.json()["status"]) == (200, "finished")
    assert answer.json()["attempts"]["charge"] > 1
    assert len(shop.asked("down")) == 1


async def test_payments_are_slow(shop: Shop) -> None:
    """An order whose payment is not answered in time asks again, and pays once."""
    async with shop.client() as client:
        with shop.payments.suspended():
            placing = asyncio.create_task(client.post("/orders", json=make_order("slow")))
            await until(client, "slow", tries=2)
        answer = await placing
    assert (answer.status_code, answer.json()["status"]) == (200, "finished")
    (asked,) = shop.asked("slow")
    assert asked > 1, "it was asked for once only"


async def test_payments_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more payments than the limit are under way, and the orders that wait use no attempt."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = importlib.import_module("order_service")
    monkeypatch.setattr(example, "PAYMENTS_AT_ONCE", 3)
    under_way, most, together = 0, 0, asyncio.Barrier(3)

    async def pay(_: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await together.wait()
        await asyncio.sleep(0.1)  # time for a fourth one to begin
        under_way -= 1
        return httpx.Response(200, json={"receipt": 1})

    client = httpx.AsyncClient(transport=httpx.MockTransport(pay), base_url="http://payments")
    example.open_stock(tmp_path)
    (tmp_path / "invoices").mkdir()
    async with client, example.make_flow(tmp_path, client) as cp:
        results = await cp.amap({order["id"]: order for order in make_orders("limited", 9)})
    assert [result.status for result in results] == ["finished"] * 9
    assert most == 3
    assert {run.attempts.get("charge", 1) for run in cp.runs()} == {1}


async def test_out_of_stock(shop: Shop) -> None:
    """An order that exceeds the stock waits, takes nothing, and goes on when there is enough."""
    query = "SELECT quantity FROM stock WHERE item = 'chair'"
    shop.rows("stock.db", "UPDATE stock SET quantity = 1 WHERE item = 'chair'")
    async with shop.client() as client:
        waits = await client.post("/orders", json=make_order("scarce"))
        found = await until(client, "scarce", status="failed", step="reserve")
        assert (waits.status_code, found["order"]) == (202, make_order("scarce"))
        assert shop.rows("stock.db", query) == [(1,)]
        shop.rows("stock.db", "UPDATE stock SET quantity = 1000 WHERE item = 'chair'")
        again = await client.post("/orders", json=make_order("scarce"))
    assert (again.status_code, again.json()["status"]) == (200, "finished")
    assert shop.rows("stock.db", query) == [(998,)]


async def test_item_that_is_sold_no_more(shop: Shop) -> None:
    """Its order ends for good: gone, then and later, and nothing is reserved or paid."""
    order = {**make_order("old-table"), "item": "table"}
    shop.rows("stock.db", "UPDATE stock SET quantity = NULL WHERE item = 'table'")
    async with shop.client() as client:
        answers = [await client.post("/orders", json=order) for _ in range(2)]
        shown = (await client.get("/orders/old-table")).json()
        async with client.stream("POST", "/orders", json=order, headers=STREAM) as answer:
            followed = [line async for line in lines_of(answer)]
    assert [answer.status_code for answer in answers] == [410, 410]
    assert {answer.json()["detail"] for answer in answers} == {"no table is sold any more"}
    assert (shown["status"], shown["step"]) == ("terminated", "reserve")
    assert shown["ended_because"] == "no table is sold any more"
    assert [line.get("type", line["kind"]) for line in followed] == ["RunTerminatedError", "Order"]
    assert shop.rows("stock.db", "SELECT key FROM reserved WHERE item = 'table'") == []
    assert shop.asked("old-table") == []


async def test_operator_ends_an_order(shop: Shop) -> None:
    """An order that is being paid, or waits, ends for good, and whoever waits for it is told."""
    path, because = "/orders/{}/terminate", {"reason": "the customer has cancelled"}
    async with shop.client() as client:
        waits = await client.post("/orders", json={**make_order("unwanted", 500), "item": "lamp"})
        with shop.payments.suspended():
            placing = asyncio.create_task(client.post("/orders", json=make_order("regretted")))
            await until(client, "regretted", step="charge")
            ended = await client.post(path.format("regretted"), json=because)
            placed = await placing
        also = await client.post(path.format("unwanted"), json=because)
        approved = await client.post("/orders/unwanted/approve", json={"by": "Ann"})
        assert (await client.post("/orders", json=make_order("done"))).status_code == 200
        late = await client.post(path.format("done"), json=because)
        unknown = await client.post(path.format("unknown"), json=because)
    assert (waits.json()["status"], ended.status_code, also.status_code) == ("paused", 200, 200)
    assert ended.json()["status"] == also.json()["status"] == "terminated"
    assert ended.json()["ended_because"] == because["reason"]
    for refused in (placed, approved):
        assert (refused.status_code, refused.json()["detail"]) == (410, because["reason"])
    assert (late.status_code, unknown.status_code) == (409, 404)
    assert shop.asked("unwanted") == []


async def test_id_of_another_order(shop: Shop) -> None:
    """An id that comes again with other content is refused, whatever became of the first one."""
    first, other = make_order("same-id"), make_order("same-id", 3)
    async with shop.client() as client:
        with shop.payments.suspended():
            placing = asyncio.create_task(client.post("/orders", json=first))
            await until(client, "same-id", step="charge")
            early = await client.post("/orders", json=other)
        placed = await placing
        late = await client.post("/orders", json={**first, "item": "lamp"})
        async with client.stream("POST", "/orders", json=other, headers=STREAM) as followed:
            pass
        again = await client.post("/orders", json=first)
    assert (early.status_code, late.status_code, followed.status_code) == (409, 409, 409)
    assert (placed.status_code, again.status_code) == (200, 200)
    assert again.json() == placed.json()
    assert len(shop.asked("same-id")) == 1


async def test_two_orders_of_one_id_at_once(shop: Shop) -> None:
    """Of requests that come together, all with the content that was taken succeed, no others."""
    orders = [make_order("at-once", 1 + number % 2) for number in range(8)]
    async with shop.client() as client:
        asking = (client.post("/orders", json=order) for order in orders)
        answers = await asyncio.gather(*asking)
        stored = (await client.get("/orders/at-once")).json()["order"]
    for order, answer in zip(orders, answers, strict=True):
        assert answer.status_code == (200 if order.items() <= stored.items() else 409)
    assert {answer.status_code for answer in answers} == {200, 409}
    assert len(shop.asked("at-once")) == 1


async def test_names_that_are_too_long(shop: Shop) -> None:
    """The name of whoever approves an order has a limit, and none is none."""
    async with shop.client() as client:
        placed = await client.post("/orders", json=make_order("approved", 500))
        names = ("", "x" * 101, 7)
        answers = [await client.post("/orders/approved/approve", json={"by": by}) for by in names]
        waiting = await client.get("/orders/approved")
        approved = await client.post("/orders/approved/approve", json={"by": "x" * 100})
    assert [answer.status_code for answer in answers] == [422] * 3
    assert waiting.json() == placed.json()
    assert (approved.status_code, approved.json()["status"]) == (200, "finished")


async def test_what_there_is_not(shop: Shop) -> None:
    """Orders that are unknown or cannot be meant are refused, and nothing is stored of them."""
    async with shop.client() as client:
        unknown = [
            await client.get("/orders/unknown"),
            await client.get("/orders/unknown/events"),
            await client.post("/orders/unknown/approve", json={"by": "Ann"}),
        ]
        nonsense = [
            await client.post("/orders", json={**make_order("no"), **facts})
            for facts in ({"id": "../no"}, {"item": "sofa"}, {"quantity": 0})
        ]
        absent = await client.get("/orders/no")
    assert [answer.status_code for answer in unknown] == [404] * 3
    assert [answer.status_code for answer in nonsense] == [422] * 3
    assert absent.status_code == 404
