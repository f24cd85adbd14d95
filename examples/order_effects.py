"""The outside effects of the order service, each made once for its idempotency key."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

PRICES = {"lamp": 4_900, "chair": 12_900, "table": 39_900}  # in cents


class OutOfStockError(Exception):
    """The stock holds less than the order asks for."""


class NoLongerSoldError(Exception):
    """The item is sold no more: its quantity in the stock is NULL."""


def open_stock(folder: Path) -> None:
    """Make the stock if it does not exist yet."""
    with closing(sqlite3.connect(folder / "stock.db")) as db, db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE IF NOT EXISTS stock (item TEXT PRIMARY KEY, quantity INTEGER)")
        db.execute(
            "CREATE TABLE IF NOT EXISTS reserved"
            " (key TEXT PRIMARY KEY, order_id TEXT, item TEXT, quantity INTEGER)"
        )
        items = [(item, 100_000) for item in PRICES]
        db.executemany("INSERT INTO stock VALUES (?, ?) ON CONFLICT DO NOTHING", items)


def take_from_stock(folder: Path, key: str, order: dict[str, Any]) -> None:
    """Reserve the ordered items, in one transaction with the idempotency key.

    Raises:
        OutOfStockError: The stock is too small. Nothing was reserved.
        NoLongerSoldError: The item is sold no more. Nothing was reserved.
    """
    database, facts = folder / "stock.db", {**order, "key": key}
    with closing(sqlite3.connect(database, timeout=30, isolation_level="IMMEDIATE")) as db, db:
        new = "INSERT INTO reserved VALUES (:key, :id, :item, :quantity) ON CONFLICT DO NOTHING"
        if not db.execute(new, facts).rowcount:
            return  # reserved by an earlier attempt, which was killed
        gone = "SELECT 1 FROM stock WHERE item = :item AND quantity IS NULL"
        if db.execute(gone, facts).fetchall():
            raise NoLongerSoldError(order["item"])
        less = "UPDATE stock SET quantity = quantity - :quantity"
        there = " WHERE item = :item AND quantity >= :quantity"
        if not db.execute(less + there, facts).rowcount:
            raise OutOfStockError(order["item"])


async def ask_for_payment(client: httpx.AsyncClient, key: str, order: dict[str, Any]) -> int:
    """Let the payment service take the money, and return the number of its receipt."""
    bill = {"order": order["id"], "cents": order["cents"]}
    response = await client.post("/payments", json=bill, headers={"Idempotency-Key": key})
    receipt: int = response.raise_for_status().json()["receipt"]
    return receipt


def write_invoice(path: Path, order: dict[str, Any]) -> None:
    """Write a file atomically and durably: whole or not at all, even after a power cut."""
    unfinished = path.with_suffix(".part")  # an order has one owner, so no other writer
    with unfinished.open("w") as file:
        json.dump(order, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    if os.name == "posix":
        directory = os.open(path.parent, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
