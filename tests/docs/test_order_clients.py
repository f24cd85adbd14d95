"""Clients of the example of an order service that leave: what stops, and what goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from order_clients import STREAM, Order, lines_of, make_order, until
from order_processes import Shop, httpx, open_shop

if TYPE_CHECKING:
    from collections.abc import Generator

WHOLE = ["reserve", "approve", "charge", "invoice"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Generator[Shop]:
    """Give a shop that is open for all tests, each with orders of its own."""
    with open_shop(tmp_path_factory.mktemp("shop")) as opened:
        yield opened


async def hold(client: httpx.AsyncClient, order: Order) -> asyncio.Task[httpx.Response]:
    """Place an order while the payments are suspended, and wait until it is to be paid."""
    placing = asyncio.create_task(client.post("/orders", json=order))
    await until(client, order["id"], step="charge")
    return placing


def steps(lines: list[dict[str, object]], kind: str) -> list[object]:
    """Give the steps that events of a kind tell of."""
    return [line["step"] for line in lines if line["kind"] == kind]


async def test_followed_to_the_end(shop: Shop) -> None:
    """Who follows an order is told each step, and how it stands in the end."""
    order = make_order("followed")
    async with shop.client() as client:
        async with client.stream("POST", "/orders", json=order, headers=STREAM) as answer:
            reported = [line async for line in lines_of(answer)]
        async with client.stream("POST", "/orders", json=order, headers=STREAM) as answer:
            again = [line async for line in lines_of(answer)]
    assert steps(reported, "StepStarted") == steps(reported, "StepFinished") == WHOLE
    assert [line["kind"] for line in (reported[0], *reported[-2:])] == [
        "RunStarted",
        "RunFinished",
        "Order",
    ]
    assert reported[-1]["status"] == "finished"
    assert again == reported[-1:], "it was done twice"


async def test_leaving_a_followed_order(shop: Shop) -> None:
    """The order of a client that leaves its stream is stored as cancelled, and can go on."""
    order = make_order("left-stream")
    async with shop.client() as client:
        with shop.payments.suspended():
            async with client.stream("POST", "/orders", json=order, headers=STREAM) as answer:
                async for line in lines_of(answer):
                    if (line["kind"], line.get("step")) == ("StepStarted", "charge"):
                        break
            left = await until(client, "left-stream", status="cancelled")
        assert (left["step"], left["waits_for"]) == ("charge", None)
        assert left["order"] == {**order, "cents": 25_800}
        async with client.stream("POST", "/orders", json=order, headers=STREAM) as answer:
            reported = [line async for line in lines_of(answer)]
    assert steps(reported, "StepStarted") == WHOLE[2:]
    assert reported[-1]["status"] == "finished"
    assert len(shop.asked("left-stream")) == 1


async def test_leaving_a_watched_order(shop: Shop) -> None:
    """A watcher that leaves changes nothing: the order goes on, and others are told its end."""
    async with shop.client() as client:
        with shop.payments.suspended():
            placing = await hold(client, make_order("watched"))
            watching = client.stream("GET", "/orders/watched/events")
            async with watching as stays:
                async with client.stream("GET", "/orders/watched/events") as leaves:
                    assert leaves.status_code == 200
                shop.payments.resume()
                reported = [line async for line in lines_of(stays)]
        answer = await placing
        async with client.stream("GET", "/orders/watched/events") as late:
            afterwards = [line async for line in lines_of(late)]
    assert (answer.status_code, answer.json()["status"]) == (200, "finished")
    assert steps(reported, "StepFinished") == WHOLE[2:]
    assert [line["kind"] for line in reported[-2:]] == ["RunFinished", "Order"]
    assert afterwards == reported[-1:] == [{"kind": "Order", **answer.json()}]


async def test_leaving_a_request(shop: Shop) -> None:
    """The order of a client that leaves its request goes on, and is finished once."""
    async with shop.client() as client:
        with shop.payments.suspended():
            placing = await hold(client, make_order("left-request"))
            placing.cancel()
            await asyncio.wait([placing])
            assert placing.cancelled()
        found = await until(client, "left-request", status="finished")
        again = await client.post("/orders", json=make_order("left-request"))
    assert again.json() == found
    assert len(shop.asked("left-request")) == 1
