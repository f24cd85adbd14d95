"""A server that stops, breaks connections, or refuses them, under runs in progress."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import psycopg
import pytest
from outages import NotedRuns, Outage, do_all_during
from standby import fail_over_url, promote, standby
from tcp_proxy import tcp_proxy

if TYPE_CHECKING:
    from postgres_server import PostgresInstallation, PostgresServer

LONG = [pytest.mark.torture, pytest.mark.timeout(1800)]


def app_url(server: PostgresServer) -> str:
    """Create a database of an ordinary user, and return the URL for that user."""
    name = server.create_database()
    server.sql("CREATE ROLE app LOGIN")
    server.sql(f'ALTER DATABASE "{name}" OWNER TO app')
    return server.url(name, user="app")


def says_unreachable(caplog: pytest.LogCaptureFixture) -> bool:
    """Whether the log says that the server was out of reach."""
    return any("is out of reach" in record.message for record in caplog.records)


@pytest.mark.parametrize(("number", "times"), [(200, 4), pytest.param(1000, 20, marks=LONG)])
def test_stopped_at_random(own_postgres: PostgresServer, number: int, times: int) -> None:
    """A server that is stopped at once, and starts again, delays all runs and harms none."""
    runs = NotedRuns(own_postgres.url(own_postgres.create_database()), number)

    outage = Outage(lambda: own_postgres.stop("immediate"), own_postgres.start)
    do_all_during(runs, outage, times)


@pytest.mark.parametrize(("number", "times"), [(100, 10), pytest.param(1000, 100, marks=LONG)])
def test_terminated_backends(own_postgres: PostgresServer, number: int, times: int) -> None:
    """An administrator who ends all connections, again and again, disturbs no run."""
    runs = NotedRuns(app_url(own_postgres), number)
    ended = list[int]()
    outage = Outage(lambda: ended.append(own_postgres.terminate_backends()))
    do_all_during(runs, outage, times)
    assert sum(ended) > 0


def test_read_only_and_back(own_postgres: PostgresServer, caplog: pytest.LogCaptureFixture) -> None:
    """A server that takes no writes for a moment, as a demoted one, delays the runs."""
    runs = NotedRuns(app_url(own_postgres), 100)

    def set_read_only(value: str) -> None:
        own_postgres.sql(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        own_postgres.reload()

    do_all_during(runs, Outage(lambda: set_read_only("on"), lambda: set_read_only("off"), 1.0), 2)
    assert says_unreachable(caplog)


def test_no_connection_free(
    postgres_installation: PostgresInstallation, caplog: pytest.LogCaptureFixture
) -> None:
    """Runs whose connections were lost, and for whom none is free, wait until one is."""
    with postgres_installation.server(max_connections=15) as server:
        server.sql("CREATE ROLE other LOGIN")
        runs, others = NotedRuns(app_url(server), 100), ExitStack()

        def exhaust() -> None:
            with suppress(psycopg.OperationalError):
                while True:
                    others.enter_context(psycopg.connect(server.url(user="other")))
                    server.terminate_backends("usename = 'app'")

        do_all_during(runs, Outage(exhaust, others.close, 1.0), 1)
    assert says_unreachable(caplog)


@pytest.mark.parametrize("freezes", [True, False])
def test_broken_network(postgres: PostgresServer, database: str, *, freezes: bool) -> None:
    """Connections that break, or carry nothing for a while, delay the runs."""
    with tcp_proxy(postgres.port) as proxy:
        runs = NotedRuns(postgres.url(database, host=proxy.place), 100)

        def cut() -> None:
            proxy.refuse()
            proxy.cut()

        outage = Outage(proxy.freeze, proxy.thaw) if freezes else Outage(cut, proxy.accept)
        do_all_during(runs, outage, 5)


def test_failover(own_postgres: PostgresServer) -> None:
    """Runs go on at the second server of their URL once that was promoted."""
    name = own_postgres.create_database()
    with standby(own_postgres) as second:
        runs = NotedRuns(fail_over_url(own_postgres, second, name), 100)
        do_all_during(runs, Outage(own_postgres.kill, lambda: promote(second)), 1)
        assert second.sql("SELECT count(*) FROM aiocheckpoint.runs", database=name) == [(100,)]
