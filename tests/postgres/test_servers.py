"""The servers of the tests: each fault that they make is one."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest
from standby import fail_over_url, promote, standby
from tcp_proxy import tcp_proxy

if TYPE_CHECKING:
    from network_namespaces import CutOffHost
    from pgbouncer import PgBouncer
    from postgres_server import PostgresServer
    from tcp_proxy import TcpProxy


def connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    """Connect to a database, in which each statement is a transaction."""
    return psycopg.connect(url, autocommit=True)


@pytest.fixture
def table(postgres: PostgresServer, database: str) -> str:
    """Give the name of a database with an empty table t of numbers n."""
    postgres.sql("CREATE TABLE t (n int)", database=database)
    return database


@pytest.mark.parametrize("end", ["fast", "immediate", "kill"])
def test_end_and_start(own_postgres: PostgresServer, end: str) -> None:
    """A server that was stopped or killed starts again with each committed row."""
    own_postgres.sql("CREATE TABLE t AS SELECT 1 AS n")
    with connect(own_postgres.url()) as held:
        if end == "kill":
            own_postgres.kill()
        else:
            own_postgres.stop("fast" if end == "fast" else "immediate")
        with pytest.raises(psycopg.OperationalError):
            held.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="refused"):
        connect(own_postgres.url())
    own_postgres.start()
    assert own_postgres.sql("SELECT n FROM t") == [(1,)]


def test_database_of_its_own(postgres: PostgresServer, table: str, database_url: str) -> None:
    """Each test has a database of its own, and the URL is that database's."""
    with connect(database_url) as connection:
        assert connection.info.dbname == table
        assert connection.execute("SELECT * FROM t").fetchall() == []
    assert postgres.sql("SELECT to_regclass('t')") == [(None,)]


def test_terminated_backends(postgres: PostgresServer, database_url: str) -> None:
    """The chosen connections end, and no other."""
    with (
        connect(f"{database_url}?application_name=doomed") as doomed,
        connect(database_url) as other,
    ):
        assert postgres.terminate_backends("application_name = 'doomed'") == 1
        with pytest.raises(psycopg.OperationalError):
            doomed.execute("SELECT 1")
        other.execute("SELECT 1")


def test_pooler(pooler: PgBouncer, table: str) -> None:
    """The pooler's connection is another one than that of the server."""
    with connect(pooler.url(table)) as connection:
        row = connection.execute("SELECT pg_backend_pid(), count(*) FROM t").fetchone()
        assert row is not None
        assert row[0] != connection.info.backend_pid
        assert row[1] == 0


def test_proxy_carries(proxy: TcpProxy, postgres: PostgresServer, table: str) -> None:
    """The proxy changes nothing of statements of both protocols, long ones included."""
    with connect(postgres.url(table, host=proxy.place)) as connection:
        long = "x" * 3_000_000
        for _ in range(7):  # psycopg prepares the sixth
            row = connection.execute("SELECT %s || 'y'", (long,)).fetchone()
            assert row == (f"{long}y",)
        assert proxy.connections == 1
        assert proxy.cut() == 1
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("answers", [True, False])
def test_lost_commit(
    proxy: TcpProxy, postgres: PostgresServer, table: str, *, answers: bool, prepared: bool
) -> None:
    """A statement whose answer is lost is executed, and one that is lost itself is not."""
    with connect(postgres.url(table, host=proxy.place)) as connection:
        if prepared:
            connection.prepare_threshold = 0
        for n in range(2):
            connection.execute("INSERT INTO t VALUES (%s)", (n,))
        lose = proxy.lose_answers if answers else proxy.lose_requests
        lost = lose("insert.*commit")
        connection.execute("INSERT INTO t VALUES (2)")
        with pytest.raises(psycopg.OperationalError), connection.transaction():
            connection.execute("INSERT INTO t VALUES (%s)", (3,))
        assert lost.happened()
    expected = [(0,), (1,), (2,), (3,)] if answers else [(0,), (1,), (2,)]
    assert postgres.sql("SELECT n FROM t ORDER BY n", database=table) == expected


def test_frozen_and_refused(proxy: TcpProxy, postgres: PostgresServer) -> None:
    """Frozen bytes come late, and a proxy that refuses lets nobody in until it accepts."""
    url = postgres.url(host=proxy.place)
    with connect(url) as connection, ThreadPoolExecutor() as threads:
        proxy.freeze()
        late = threads.submit(lambda: connection.execute("SELECT 1").fetchone())
        time.sleep(0.1)
        assert not late.done()
        proxy.thaw()
        assert late.result() == (1,)
    proxy.refuse()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        connect(url)
    proxy.accept()
    connect(url).close()


def test_delay(postgres: PostgresServer) -> None:
    """A delayed answer comes after twice the delay, once for each direction."""
    with tcp_proxy(postgres.port) as proxy, connect(postgres.url(host=proxy.place)) as connection:
        proxy.delay = 0.05
        begun = time.monotonic()
        connection.execute("SELECT 1")
        assert time.monotonic() - begun >= 2 * proxy.delay


def test_failover(own_postgres: PostgresServer) -> None:
    """A promoted standby has each acknowledged commit, and takes the connections of its URL."""
    own_postgres.sql("CREATE TABLE t (n int)")
    with standby(own_postgres) as second:
        url = fail_over_url(own_postgres, second)
        with connect(url) as first:
            assert first.info.port == own_postgres.port
            for n in range(20):
                first.execute("INSERT INTO t VALUES (%s)", (n,))
            own_postgres.kill()
            with pytest.raises(psycopg.OperationalError):
                connect(url)
            promote(second)
            with connect(url) as other:
                assert other.info.port == second.port
                rows = other.execute("SELECT n FROM t ORDER BY n").fetchall()
        assert rows == [(n,) for n in range(20)]


def test_cut_off_host(own_postgres: PostgresServer, cut_off: CutOffHost) -> None:
    """A process on a host that is cut off gets no answer until the host is joined again."""
    asks = (
        "import psycopg, sys; c = psycopg.connect(sys.argv[1], autocommit=True)\n"
        "for line in sys.stdin: print(c.execute('SELECT 1').fetchone(), flush=True)"
    )
    url = own_postgres.url(host=cut_off.here)
    command = [*cut_off.prefix, sys.executable, "-c", asks, url]
    pipe = subprocess.PIPE
    process: subprocess.Popen[str] = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, bufsize=1
    )
    with process, ThreadPoolExecutor() as threads:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        assert process.stdout.readline() == "(1,)\n"
        cut_off.cut()
        process.stdin.write("\n")
        late = threads.submit(process.stdout.readline)
        time.sleep(0.5)
        assert not late.done()
        cut_off.join()
        assert late.result() == "(1,)\n"
        process.stdin.close()
