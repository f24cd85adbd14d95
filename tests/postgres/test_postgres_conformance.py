"""The PostgreSQL handler passes every published conformance check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conformance_checks import SHORT

from aiocheckpoint.handlers.postgres import PostgresStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pgbouncer import PgBouncer
    from postgres_server import PostgresServer

    from aiocheckpoint import StateHandler

    Check = Callable[[Callable[[], StateHandler]], None]

SECRET = "s" * 32
every_check = pytest.mark.parametrize("check", SHORT, ids=lambda check: check.__name__)


@pytest.fixture(scope="module")
def shared_database(postgres: PostgresServer) -> Generator[str]:
    """Give the name of one database for all checks, each of which leaves it as it found it."""
    name = postgres.create_database()
    yield name
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def url(postgres: PostgresServer, shared_database: str) -> str:
    """Give the URL of that database."""
    return postgres.url(shared_database)


@every_check
@pytest.mark.parametrize(
    "options",
    [{}, {"keep": 3}, {"keep": "all"}, {"secret": SECRET, "verify": True}],
    ids=["plain", "3", "all", "signed"],
)
def test_options(check: Check, options: dict[str, Any], url: str) -> None:
    """It passes with each option that changes what is stored."""
    check(lambda: PostgresStateHandler(url, flow="checked", **options))


@every_check
def test_several_processes(check: Check, url: str) -> None:
    """It passes where each handler object is an owner with connections of its own."""
    made: list[PostgresStateHandler] = []

    def make() -> PostgresStateHandler:
        # Handlers with other options share nothing, as those of two processes.
        made.append(PostgresStateHandler(url, flow="checked", patience=60.0 + len(made)))
        return made[-1]

    try:
        check(make)
    finally:
        for handler in made:
            handler.close()


@every_check
def test_behind_a_pooler(check: Check, pooler: PgBouncer, shared_database: str) -> None:
    """It passes behind PgBouncer, which gives each transaction another session of the server."""
    made: list[PostgresStateHandler] = []

    def make() -> PostgresStateHandler:
        made.append(PostgresStateHandler(pooler.url(shared_database), flow="checked"))
        return made[-1]

    try:
        check(make)
    finally:
        for handler in made:
            handler.close()
