"""Clients of the order service, and the counts of their orders."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from order_processes import PATIENCE, Shop, httpx

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable

    from aiocheckpoint import Header

Order: TypeAlias = dict[str, Any]
IN_STOCK = 100_000
ITEMS = {"lamp": 4_900, "chair": 12_900, "table": 39_900}
STREAM = {"accept": "text/event-stream"}


def make_order(name: str, quantity: int = 2) -> Order:
    """Make one order."""
    return {"id": name, "item": "chair", "quantity": quantity}


def make_orders(name: str, number: int) -> list[Order]:
    """Make small orders of every article."""
    items = list(ITEMS)
    return [
        {"id": f"{name}-{n}", "item": items[n % len(items)], "quantity": 1 + n % 7}
        for n in range(number)
    ]


async def place_order(
    client: httpx.AsyncClient, order: Order, reported: Counter[str], *, asks_again: bool = True
) -> None:
    """Place an order until it is taken, and wait until it is finished.

    A client that does not ask again places it once more only if nothing of it is stored. It leaves
    the rest to the worker of the service.
    """
    while True:
        try:
            answer = await client.post("/orders", json=order)
        except httpx.TransportError as error:
            reported[type(error).__name__] += 1
        else:
            reported[str(answer.status_code)] += 1
            assert answer.status_code in {200, 202, 503}, answer.text
            if answer.status_code == 202:
                await until(client, order["id"], status="finished")
            if answer.status_code != 503:
                return
        await asyncio.sleep(0.05)
        if not asks_again and await is_stored(client, order["id"]):
            await until(client, order["id"], status="finished")
            reported["left to the worker"] += 1
            return


async def is_stored(client: httpx.AsyncClient, order_id: str) -> bool:
    """Whether the service knows an order, asked as soon as it answers."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            return (await client.get(f"/orders/{order_id}")).status_code != 404
        await asyncio.sleep(0.05)
    raise AssertionError(order_id)


async def until(
    client: httpx.AsyncClient, order_id: str, *, tries: int = 1, **facts: object
) -> dict[str, Any]:
    """Poll an order until it has this status and its payment was tried so often.

    Returns:
        The order as the service shows it.
    """
    deadline = time.monotonic() + PATIENCE
    found: dict[str, Any] = {}
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            found = (await client.get(f"/orders/{order_id}")).json()
            tried = found.get("attempts", {}).get("charge", 1)
            if facts.items() <= found.items() and tried >= tries:
                return found
        await asyncio.sleep(0.05)
    raise AssertionError(found)


async def lines_of(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """Give the server-sent events of an answer."""
    assert answer.status_code == 200, await answer.aread()
    assert answer.headers["content-type"].startswith(STREAM["accept"])
    async for line in answer.aiter_lines():
        if line:
            assert line.startswith("data: ")
            yield json.loads(line.removeprefix("data: "))


async def serve_all(
    shop: Shop,
    orders: Iterable[Order],
    at_once: int,
    interrupts: Collection[int],
    interrupt: Callable[[], object],
) -> Counter[str]:
    """Place all orders, so many at once, and strike when so many are finished.

    Three of four clients leave an order that was interrupted to the worker of the service.

    Returns:
        The number of answers of each kind: a status, or the class of an exception.
    """
    reported, todo, done = Counter[str](), iter(orders), 0

    async def work(client: httpx.AsyncClient, *, asks_again: bool) -> None:
        nonlocal done
        for order in todo:
            await place_order(client, order, reported, asks_again=asks_again)
            done += 1
            if done in interrupts:
                await asyncio.to_thread(interrupt)

    async with shop.client(stays=False) as client, asyncio.TaskGroup() as group:
        for number in range(at_once):
            group.create_task(work(client, asks_again=number % 4 == 0))
    return reported


def runs_of(shop: Shop) -> list[Header]:
    """Give the headers of all orders."""
    store = shop.store or f"sqlite:///{shop.folder}/orders.db"
    return CheckpointFlow(store, name="orders").runs()


def check_books(shop: Shop, orders: list[Order]) -> None:
    """Check that each order, and nothing else, is once in stock, payments and invoices."""
    wanted = {order["id"]: order for order in orders}
    runs = runs_of(shop)
    assert Counter(run.run_id for run in runs) == Counter(list(wanted))
    assert {(run.status, run.number) for run in runs} == {("finished", 1)}

    reserved = shop.rows("stock.db", "SELECT order_id, item, quantity FROM reserved")
    assert Counter(reserved) == Counter((o["id"], o["item"], o["quantity"]) for o in orders)
    taken = Counter[str]()
    for order in orders:
        taken[order["item"]] += order["quantity"]
    stock = dict(shop.rows("stock.db", "SELECT item, quantity FROM stock"))
    assert stock == {item: IN_STOCK - taken[item] for item in ITEMS}

    paid = shop.rows("payments.db", "SELECT order_id, cents, receipt FROM payments")
    cents = {one: order["quantity"] * ITEMS[order["item"]] for one, order in wanted.items()}
    assert Counter((one, sum_) for one, sum_, _ in paid) == Counter(cents.items())

    files = list((shop.folder / "invoices").iterdir())
    invoices = [json.loads(file.read_text("utf-8")) for file in files]
    facts = [(one["id"], one["cents"], one["receipt"]) for one in invoices]
    assert Counter(facts) == Counter(paid)
    assert {file.name for file in files} == {one["invoice"] for one in invoices}


def check_drained(shop: Shop, reported: Counter[str]) -> None:
    """Check that orders were stopped midway, none failed, and no payment was begun anew.

    A connection of which the service has no request yet is reset when it closes. A payment that is
    not answered in time, on a busy machine, is asked for in another attempt of the same step.
    """
    assert reported["202"] > 0, "none was stopped on its way"
    errors = {"ConnectError", "ReadError", "WriteError"}
    assert set(reported) <= {"200", "202", "503", "left to the worker", *errors}
    attempts = {run.run_id: run.attempts.get("charge", 1) for run in runs_of(shop)}
    asked = shop.rows("payments.db", "SELECT order_id, asked FROM payments")
    assert [(one, times) for one, times in asked if times > attempts[one]] == []
