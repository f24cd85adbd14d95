"""Fixtures of PostgreSQL servers, which a conftest imports where their packages are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from network_namespaces import NETWORK, cut_off_host, why_no_namespaces
from postgres_server import installation

if TYPE_CHECKING:
    from collections.abc import Generator

    from network_namespaces import CutOffHost
    from postgres_server import PostgresInstallation, PostgresServer

__all__ = [
    "cut_off",
    "database",
    "database_url",
    "open_postgres",
    "own_postgres",
    "postgres",
    "postgres_installation",
]


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
def open_postgres(own_postgres: PostgresServer) -> PostgresServer:
    """Give a server of the test's own that hosts in network namespaces reach."""
    own_postgres.allow(f"host all all {NETWORK} trust")
    own_postgres.configure(listen_addresses="*")
    own_postgres.restart()
    return own_postgres


@pytest.fixture
def cut_off(open_postgres: PostgresServer) -> Generator[CutOffHost]:
    """Give a host that can be cut off, and reaches the test's own server at its `here`."""
    why = why_no_namespaces()
    if why is not None:
        pytest.skip(why)
    with cut_off_host() as host:
        yield host
