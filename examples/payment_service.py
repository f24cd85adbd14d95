"""The payments of the order service: one for each idempotency key, however often it is used.

Run it with: python examples/payment_service.py [folder] [port]
"""

import argparse
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Header
from pydantic import BaseModel


class Payment(BaseModel):
    """A requested payment, in cents."""

    order: str
    cents: int


def make_app(database: Path) -> FastAPI:
    """Make the service, which stores its payments in this database."""
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(
            "CREATE TABLE IF NOT EXISTS payments (receipt INTEGER PRIMARY KEY, key TEXT UNIQUE,"
            " order_id TEXT, cents INTEGER, asked INTEGER DEFAULT 1)"
        )
    app = FastAPI(title="payments")

    @app.post("/payments")
    def pay(payment: Payment, idempotency_key: Annotated[str, Header()]) -> dict[str, int]:
        """Take the money, unless this key has paid already."""
        with closing(sqlite3.connect(database, timeout=30)) as db, db:
            db.execute(
                "INSERT INTO payments (key, order_id, cents) VALUES (?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET asked = asked + 1",
                (idempotency_key, payment.order, payment.cents),
            )
            query = "SELECT receipt FROM payments WHERE key = ?"
            (receipt,) = db.execute(query, (idempotency_key,)).fetchone()
        return {"receipt": receipt}

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Take payments, each once.")
    parser.add_argument("folder", nargs="?", type=Path, default="shop")
    parser.add_argument("port", nargs="?", type=int, default=8001)
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    uvicorn.run(make_app(options.folder / "payments.db"), port=options.port, access_log=False)
