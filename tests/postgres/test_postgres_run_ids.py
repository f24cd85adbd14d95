"""Run ids and names in PostgreSQL: any text, however long, and no two are one."""

from __future__ import annotations

from typing import Any

import pytest

from aiocheckpoint import CheckpointFlow
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.handlers.postgres import PostgresStateHandler

LONG = "\U0001f600" * 1000
ODD_IDS = [
    "a",
    "A",
    " a",
    "a\0b",
    "a\0",
    "\ud800",
    "\udfff\ud800",
    "%s",
    "'; DROP TABLE runs; --",
    '"\\',
    "{NULL}",
    "é",
    "e\u0301",
    LONG,
    LONG[:-1],
    LONG[:-1] + "x",
    "x" * 511,
    "x" * 512,
    "x" * 1000,
]


@pytest.mark.parametrize("keep", [1, 3])
def test_each_has_its_own_run(keep: int, database_url: str) -> None:
    """Each id has a state, a lock and a place in lists of its own."""
    handler = PostgresStateHandler(database_url, keep=keep)
    for number, run_id in enumerate(ODD_IDS):
        handler.write({"n": number}, run_id)
    assert [handler.read(run_id)["n"] for run_id in ODD_IDS] == list(range(len(ODD_IDS)))
    assert {header.run_id for header in handler.runs(Query())} == set(ODD_IDS)
    for run_id in ODD_IDS:
        with handler.locked(run_id), handler.locked("another"):
            handler.read(run_id)
    for run_id in ODD_IDS[::2]:
        handler.remove(run_id)
    assert [handler.read(run_id) == {} for run_id in ODD_IDS] == [
        number % 2 == 0 for number in range(len(ODD_IDS))
    ]


async def test_all_in_one_statement(database_url: str) -> None:
    """All of them begin, go on and end together, and are queued and taken together."""
    flow = CheckpointFlow[dict[str, Any]](database_url, name="odd")

    @flow.add_step(name='st"e\\p {,} NULL')
    async def one(state: dict[str, Any], data: dict[str, Any]) -> None:
        state["seen"] = state["id"]

    @flow.add_step(name="ä" * 500)
    async def two(state: dict[str, Any], data: dict[str, Any]) -> None:
        state["two"] = True

    pairs = {run_id: {"id": run_id} for run_id in ODD_IDS}
    async for result in flow.amap(pairs):
        assert result.error is None
        assert result.state is not None
        assert result.state["seen"] == result.run_id
    queued = {f"{run_id}q"[-1000:]: {"id": run_id} for run_id in ODD_IDS}
    assert [submitted.error for submitted in await flow.asubmit(queued)] == [None] * len(queued)
    taken = [result async for result in flow.awork(until_empty=True)]
    assert {result.run_id for result in taken} == set(queued)
    assert all(result.error is None for result in taken)


def test_odd_name_of_a_flow(database_url: str) -> None:
    """A flow may have any name, up to 1,000 bytes."""
    for name in ("\ud800", "é" * 500, "%s'\""):
        handler = PostgresStateHandler(database_url, flow=name)
        handler.write({"name": name}, "a")
        assert handler.read("a") == {"name": name}
        assert len(handler.runs(Query())) == 1


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_database_of_another_encoding(encoding: str, database_url: str) -> None:
    """A database need not be in UTF-8."""
    import psycopg  # noqa: PLC0415

    name = f"in_{encoding.lower()}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        statement = f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0"
        connection.execute(statement.encode())
    base, _, _ = database_url.rpartition("/")
    handler = PostgresStateHandler(f"{base}/{name}", flow="ü")
    for number, run_id in enumerate(ODD_IDS):
        handler.write({"n": number}, run_id)
    assert len(handler.runs(Query())) == len(ODD_IDS)
    handler.close()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
