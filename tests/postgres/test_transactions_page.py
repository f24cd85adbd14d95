"""The page about transactions: its code runs, and pays once for each step."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from typing import TYPE_CHECKING, Any

from locations import ROOT

if TYPE_CHECKING:
    from postgres_server import PostgresServer

PAGE = (ROOT / "docs" / "transactions.md").read_text("utf-8")
PYTHON = re.findall(r"^```py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
TABLES = (
    "CREATE TABLE entries (account text, cents int)",
    "CREATE TABLE payments (key text UNIQUE, cents int)",
)
PAY = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_code_of_the_page(postgres: PostgresServer, database: str, database_url: str) -> None:
    """The Python block runs with the URL of a server that exists."""
    for table in TABLES:
        postgres.sql(table, database=database)
    names: dict[str, Any] = {"__name__": "__main__"}
    (source,) = PYTHON
    real = re.sub(r'"postgresql://[^"]+"', repr(database_url), source)
    code = compile(real, "transactions.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with asyncio.Runner() as runner:
        made = eval(code, names)  # noqa: S307 - the page's own code
        assert inspect.iscoroutine(made)
        runner.run(made)
    names["cp"].handler.close()
    rows = postgres.sql("SELECT account, cents FROM entries ORDER BY 1", database=database)
    assert rows == [("Ann", -500), ("shop", 500)]


def test_insert_with_a_key(postgres: PostgresServer, database: str) -> None:
    """The statement for other stores pays once, however often it is executed."""
    postgres.sql(TABLES[1], database=database)
    for _ in range(2):
        postgres.sql(PAY[0], "key", 500, database=database)
    assert postgres.sql("SELECT count(*) FROM payments", database=database) == [(1,)]
