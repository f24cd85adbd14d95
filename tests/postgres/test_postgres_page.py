"""The page about PostgreSQL: its code runs, and its SQL makes all that a service needs."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from locations import ROOT

from aiocheckpoint import CheckpointFlow, open_handler
from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.handlers.postgres import PostgresStateHandler
from aiocheckpoint.handlers.postgres._schema import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from postgres_server import PostgresServer

PAGE = (ROOT / "docs" / "postgres.md").read_text("utf-8")
PYTHON = re.findall(r"^```py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SQL = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SERVICE = "shop_service"


def sql_of_tables() -> str:
    """Give the SQL that makes the tables as the library does."""
    needed = max(number for number, one in enumerate(MIGRATIONS, 1) if one.needed)
    facts = f"('level', '{len(MIGRATIONS)}'), ('needed', '{needed}')"
    level = f"INSERT INTO SCHEMA.meta VALUES {facts}"  # noqa: S608 - numbers
    statements = [statement for one in MIGRATIONS for statement in one.statements]
    lines = ["CREATE SCHEMA aiocheckpoint;"]
    for statement in [*statements, level]:
        first, newline, rest = statement.replace("SCHEMA.", "aiocheckpoint.").partition("\n")
        lines.append(f"{first}{newline}{dedent(rest)};")
    return "\n".join(lines)


def test_sql_is_that_of_the_library() -> None:
    """The page has the very statements that the library executes."""
    assert SQL[0].startswith(sql_of_tables())


@pytest.fixture
def service_url(postgres: PostgresServer, database: str) -> Generator[str]:
    """Give the URL of a user who has the rights of the page alone, in tables that it has made."""
    postgres.sql(f"CREATE ROLE {SERVICE} LOGIN")
    postgres.sql(SQL[0], database=database)
    yield postgres.url(database, user=SERVICE)
    postgres.drop_database(database)
    postgres.sql(f"DROP ROLE {SERVICE}")


async def test_rights_of_a_service(service_url: str) -> None:
    """A user with these rights alone can do all that a flow does, and may not make tables."""
    with psycopg.connect(service_url) as connection, pytest.raises(psycopg.Error, match="denied"):
        connection.execute("CREATE TABLE aiocheckpoint.mine (id int)")
    flow = CheckpointFlow[dict[str, Any]](service_url, name="orders", keep=3)

    @flow.add_step()
    async def charge(state: dict[str, Any], data: dict[str, Any]) -> None:
        if state["id"] == 3:
            raise KeyError
        state["charged"] = True

    async with flow:
        await flow.arun({"id": 1}, run_id="1")
        await flow.asubmit({"2": {"id": 2}, "3": {"id": 3}})
        errors = {result.run_id: result.error async for result in flow.awork(until_empty=True)}
        assert errors["2"] is None
        assert isinstance(errors["3"], KeyError)
        assert await flow.acount(by="status") == {
            **dict.fromkeys(["queued", "running", "stopped", "paused", "cancelled"], 0),
            "terminated": 0,
            "failed": 1,
            "finished": 2,
        }
        await flow.aterminate("3", "enough")
        assert len(flow.handler.history("1")) == 2
        await flow.adrain()
    assert flow.prune(older_than=0) == 2
    flow.delete("3")
    flow.handler.close()


def test_rights_to_look(service_url: str, postgres: PostgresServer, database: str) -> None:
    """A user who may read the tables lists and reads runs, and can store nothing."""
    PostgresStateHandler(service_url, flow="orders").write({"n": 1}, "a")
    postgres.sql("CREATE ROLE looker LOGIN")
    for right in ("USAGE ON SCHEMA aiocheckpoint", "SELECT ON ALL TABLES IN SCHEMA aiocheckpoint"):
        postgres.sql(f"GRANT {right} TO looker", database=database)
    try:
        handler = open_handler(postgres.url(database, user="looker"), name="orders")
        assert handler.read("a") == {"n": 1}
        assert [header.run_id for header in handler.runs(Query())] == ["a"]
        with pytest.raises(StorageError, match="Grant the rights"):
            handler.write({"n": 2}, "a")
        handler.close()
    finally:
        postgres.drop_database(database)
        postgres.sql("DROP ROLE looker")


def test_queries_of_the_page(service_url: str) -> None:
    """The query for a DBA shows a run by its names."""
    PostgresStateHandler(service_url, flow="orders").write({"n": 1}, "order-1")
    with psycopg.connect(service_url) as connection:
        rows = connection.execute(SQL[1].encode()).fetchall()
    assert [row[:3] for row in rows] == [("orders", "order-1", "finished")]


def test_code_of_the_page(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The Python blocks run in order, with the URL of a server that exists."""
    monkeypatch.chdir(tmp_path)
    old = open_handler("sqlite:///orders.db")
    old.write({"id": 7}, "order-7")
    old.close()
    names: dict[str, Any] = {"__name__": "__main__"}
    with asyncio.Runner() as runner:
        for source in PYTHON:
            assert "postgresql://" in source
            real = re.sub(r'"postgresql://[^"]+"', repr(database_url), source)
            code = compile(real, "postgres.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            made = eval(code, names)  # noqa: S307 - the page's own code
            if inspect.iscoroutine(made):
                runner.run(made)
    handler = PostgresStateHandler(database_url, flow="orders")
    assert handler.read("order-42")["charged"] is True
    assert handler.read("order-7") == {"id": 7}
    assert capsys.readouterr().out == "1\n"
    handler.close()
