"""Payments that are made once each, though the program may be killed at any moment.

Each order takes money from a customer and gives it to the shop, in two steps. The rows of a step
and the checkpoint behind it are one commit of PostgreSQL: either both are in the database, or
neither. No unique key and no look into the table keeps a payment from being made twice.

    python examples/payments_postgres.py postgresql://user@host/database --orders 300

Kill it as often as you like, by `kill -9` too, and start it again. Several may run side by side.
When all orders are paid, it counts the rows.
"""

import argparse
import asyncio
import sys
from typing import NotRequired, TypedDict

import psycopg

from aiocheckpoint import CheckpointFlow, current_step

AT_ONCE = 20  # orders of one process side by side
PAUSE = 0.01
TABLE = "CREATE TABLE IF NOT EXISTS entries (account text, order_id text, cents bigint)"
BOOK = "INSERT INTO entries VALUES (%s, %s, %s)"
COUNT = """
    SELECT count(DISTINCT order_id) FILTER (WHERE account = 'shop'),
           count(*) - count(DISTINCT (account, order_id)), sum(cents) FROM entries
"""


class Order(TypedDict):
    """The state of an order. Steps add what they find out."""

    customer: str
    cents: int
    approval: NotRequired[str]


def make_flow(url: str) -> CheckpointFlow[Order]:
    """Make the flow. Each order is a run of it."""
    cp = CheckpointFlow[Order](url, name="payments")

    @cp.add_step()
    async def take(order: Order) -> None:
        connection = await current_step().connection()
        await connection.execute(BOOK, (order["customer"], current_step().run_id, -order["cents"]))
        await asyncio.sleep(PAUSE)  # killed here, nothing is taken

    @cp.add_step()
    async def approve(order: Order) -> None:  # a call to the outside is made again behind a kill
        await asyncio.sleep(PAUSE)
        order["approval"] = current_step().idempotency_key

    @cp.add_step()
    def give(order: Order) -> None:  # sync, so it runs in a thread and gets a sync connection
        connection = current_step().connection()
        connection.execute(BOOK, ("shop", current_step().run_id, order["cents"]))

    return cp


async def pay(url: str, orders: int) -> None:
    """Queue the orders that are new, and work until all are paid."""
    cp = make_flow(url)
    new = {f"order-{n}": Order(customer=f"customer-{n % 7}", cents=100 + n) for n in range(orders)}
    async with cp:  # at its end the connections are closed
        await cp.asubmit(new, once=True)
        async for result in cp.awork(limit=AT_ONCE, until_empty=True):
            print(result.run_id, result.status or repr(result.error), flush=True)


def main() -> int:
    """Pay, count, and give the exit code."""
    parser = argparse.ArgumentParser(description="Pay each order once.")
    parser.add_argument("url", help="a PostgreSQL database: postgresql://user@host/database")
    parser.add_argument("--orders", type=int, default=300)
    options = parser.parse_args()
    with psycopg.connect(options.url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(1)")  # of several that start at once
        connection.execute(TABLE)
    asyncio.run(pay(options.url, options.orders))
    with psycopg.connect(options.url) as connection:
        paid, doubled, difference = connection.execute(COUNT).fetchone() or (0, 0, 0)
    print(f"{paid} of {options.orders} orders are paid, {doubled} rows are doubled")
    print(f"the books differ by {difference} cents")
    return 0 if (paid, doubled, difference) == (options.orders, 0, 0) else 1


if __name__ == "__main__":
    sys.exit(main())
