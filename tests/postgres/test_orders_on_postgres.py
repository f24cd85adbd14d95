"""The example of an order service on PostgreSQL: the service and the server are killed."""

from __future__ import annotations

import itertools
import random
import time
from typing import TYPE_CHECKING

import pytest
from order_clients import check_books, make_order, make_orders, serve_all
from order_processes import open_shop

if TYPE_CHECKING:
    from pathlib import Path

    from order_processes import Shop
    from postgres_server import PostgresServer

LONG = [pytest.mark.torture, pytest.mark.timeout(1800)]


class Interrupts:
    """Interrupts of a shop that is under load, the server's among those of the service.

    Args:
        shop: The shop.
        server: The server of its runs.
        of_server: The interrupts, counted from 0, that kill the server.
    """

    def __init__(self, shop: Shop, server: PostgresServer, of_server: set[int]) -> None:
        self._shop, self._server, self._of_server = shop, server, of_server
        self._numbers = itertools.count()

    def __call__(self) -> None:
        """Kill one of both, and start it again."""
        if next(self._numbers) in self._of_server:
            self._server.kill()
            time.sleep(random.random())  # noqa: S311 - no secret
            self._server.start()
        else:
            self._shop.orders.restart()


@pytest.mark.parametrize(
    ("number", "kills", "of_server"),
    [(60, 4, {1, 3}), pytest.param(2000, 13, {2, 6, 10}, marks=LONG)],
)
async def test_service_and_server_killed(
    own_postgres: PostgresServer, tmp_path: Path, number: int, kills: int, of_server: set[int]
) -> None:
    """Whatever is killed under load, each order is once in stock, payments and invoices."""
    database = own_postgres.create_database()
    with open_shop(tmp_path, store=own_postgres.url(database)) as shop:
        orders = make_orders("order", number)
        interrupt = Interrupts(shop, own_postgres, of_server)
        at = {number * (n + 1) // (kills + 1) for n in range(kills)}
        reported = await serve_all(shop, orders, min(50, number // 3), at, interrupt)
        check_books(shop, orders)
        assert sum(reported.values()) > reported["200"], "no client noticed a kill"


async def test_two_hosts(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """Two services in folders of their own share the runs: one shows what the other has done."""
    store = own_postgres.url(own_postgres.create_database())
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        open_shop(tmp_path / "one", store=store) as one,
        open_shop(tmp_path / "two", store=store) as two,
    ):
        async with one.client() as first, two.client() as second:
            placed = await first.post("/orders", json=make_order("shared"))
            again = await second.post("/orders", json=make_order("shared"))
            other = await second.post("/orders", json=make_order("shared", 3))
        assert (placed.status_code, again.status_code, other.status_code) == (200, 200, 409)
        assert again.json() == placed.json()
        assert (len(one.asked("shared")), two.asked("shared")) == (1, [])
