"""The example of payments, killed again and again: no payment is doubled, and none is lost."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from locations import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path

    from postgres_server import PostgresServer

PROGRAM = EXAMPLES / "payments_postgres.py"
ROWS = "SELECT account = 'shop', order_id, count(*) FROM entries GROUP BY 1, 2"
LONGEST = 300.0


@dataclass
class Shop:
    """A database in which programs pay.

    Attributes:
        server: Its server.
        database: Its name.
        folder: Where the programs write their output.
        orders: The number of orders so far. Each start has further ones, so that there is work.
    """

    server: PostgresServer
    database: str
    folder: Path
    orders: int = 0
    _starts: int = 0

    def start(self, more: int) -> Program:
        """Start a program."""
        self.orders += more
        self._starts += 1
        return Program(
            self.server.url(self.database), self.orders, self.folder / f"{self._starts}.txt"
        )

    def check(self) -> None:
        """Check that each order has one row of the customer's, and one of the shop's."""
        rows = self.server.sql(ROWS, database=self.database)
        assert {count for *_, count in rows} == {1}
        assert len(rows) == 2 * self.orders


class Program:
    """One program that pays.

    Args:
        url: The database.
        orders: The number of orders.
        output: The file for its output.
    """

    def __init__(self, url: str, orders: int, output: Path) -> None:
        """Start it."""
        self._output = output
        command = [sys.executable, str(PROGRAM), url, "--orders", str(orders)]
        with output.open("wb") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file)

    @property
    def output(self) -> str:
        """What it has written."""
        return self._output.read_text("utf-8")

    def wait_for_payment(self) -> None:
        """Wait until it has paid an order, or has ended."""
        while "order-" not in self.output and self._process.poll() is None:
            time.sleep(0.005)

    def kill(self) -> bool:
        """Kill it. False if it has ended by itself."""
        living = self._process.poll() is None
        self._process.kill()
        self._process.wait()
        return living

    def end(self) -> None:
        """Wait for its end."""
        self._process.wait(LONGEST)


def kill_often(shop: Shop, *, kills: int, at_once: int, orders: int) -> None:
    """Kill programs at random moments, so many times, and let the last ones end."""
    chance = random.Random(1)  # noqa: S311 - repeatable
    while kills > 0:
        programs = [shop.start(orders) for _ in range(at_once)]
        for program in programs:
            program.wait_for_payment()
            time.sleep(chance.uniform(0.0, 0.5))
            kills -= program.kill()
    last = [shop.start(orders) for _ in range(at_once)]
    for program in last:
        program.end()
    if at_once > 1:  # What the others had in progress was theirs. This one leaves nothing.
        last.append(shop.start(0))
        last[-1].end()
    program = last[-1]
    assert f"{shop.orders} of {shop.orders} orders are paid, 0 rows are doubled" in program.output
    shop.check()


def test_killed(postgres: PostgresServer, database: str, tmp_path: Path) -> None:
    """Eight kills double nothing, and lose nothing."""
    kill_often(Shop(postgres, database, tmp_path), kills=8, at_once=1, orders=40)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("at_once", [1, 2])
def test_killed_often(
    postgres: PostgresServer, database: str, tmp_path: Path, at_once: int
) -> None:
    """A hundred kills double and lose nothing, of two programs side by side neither."""
    kill_often(Shop(postgres, database, tmp_path), kills=100, at_once=at_once, orders=100)
