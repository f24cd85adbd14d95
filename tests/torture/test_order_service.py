"""Two thousand orders at the example of an order service, which is killed, or ended, ten times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from order_clients import check_books, check_drained, make_orders, serve_all
from order_processes import open_shop

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800)]
INTERRUPTS = range(150, 2000, 180)[:10]


async def test_killed_under_load(tmp_path: Path) -> None:
    """However often it is killed, each order ends once in stock, payments and invoices."""
    with open_shop(tmp_path) as shop:
        orders = make_orders("order", 2000)
        await serve_all(shop, orders, 50, INTERRUPTS, shop.orders.restart)
        check_books(shop, orders)


async def test_ended_under_load(tmp_path: Path) -> None:
    """However often it is told to end, no order fails, and no step of any runs twice."""
    with open_shop(tmp_path) as shop:
        orders = make_orders("order", 2000)
        reported = await serve_all(shop, orders, 50, INTERRUPTS, shop.orders.replace)
        check_books(shop, orders)
        check_drained(shop, reported)
