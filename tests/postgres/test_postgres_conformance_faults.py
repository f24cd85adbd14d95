"""The PostgreSQL handler passes the conformance checks with processes, outages and lost answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conformance_checks import CHECKS, LONG
from faulty_postgres import ServerFaults, maker
from tcp_proxy import tcp_proxy

if TYPE_CHECKING:
    from postgres_server import PostgresServer

    from aiocheckpoint.testing import HandlerCheck


@pytest.mark.parametrize("check", LONG, ids=lambda check: check.__name__)
def test_processes(check: HandlerCheck, postgres: PostgresServer, database: str) -> None:
    """It passes each check that takes long or starts processes."""
    run(check, ServerFaults(postgres, database), postgres.url(database))


@pytest.mark.parametrize("name", ["stolen_lease", "stolen_run", "rows_left"])
def test_tables_of_others(name: str, postgres: PostgresServer, database: str) -> None:
    """It passes with leases that are stolen, and leaves no rows."""
    run(CHECKS[name], ServerFaults(postgres, database), postgres.url(database))


def test_answers_lost(postgres: PostgresServer, database: str) -> None:
    """It passes where a proxy loses the answers to commits."""
    with tcp_proxy(postgres.port) as proxy:
        url = postgres.url(database, host=proxy.place)
        run(CHECKS["lost_answers"], ServerFaults(postgres, database, proxy), url)
        assert all(not loss.left for loss in proxy.losses)
        assert len(proxy.losses) == 7


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("outage", {}),
        ("long_outage", {"patience": 1.0}),
        ("owner_in_outage", {"lease": 4.0}),
        ("crash", {}),
    ],
)
def test_server_ends(name: str, options: dict[str, Any], own_postgres: PostgresServer) -> None:
    """It passes where the server is stopped at once, or killed."""
    faults = ServerFaults(own_postgres, "postgres")
    try:
        run(CHECKS[name], faults, own_postgres.url(), **options)
    finally:
        faults.join()


def run(check: HandlerCheck, faults: ServerFaults, url: str, **options: Any) -> None:  # noqa: ANN401
    """Run a check, and close the handler."""
    given: dict[str, Any] = {"lease": 1.0, "patience": 20.0} | options
    make = maker(url, **given)
    handler = make()
    try:
        check(make, faults)
    finally:
        handler.close()
