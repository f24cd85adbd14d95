"""Sessions of PostgreSQL: how others see that they live, poolers, and forked children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from shutil import which
from typing import TYPE_CHECKING

import psycopg
import pytest
from free_ports import find_port
from locations import program
from pgbouncer import find_pgbouncer, pgbouncer
from postgres_connections import connected
from unprivileged import give_to_server_user, server_folder

from aiocheckpoint.errors import StorageError, StoreUnreachableError
from aiocheckpoint.handlers.leased import Claim, LeaseRecord, OwnerBeat
from aiocheckpoint.handlers.postgres import PostgresStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from pgbouncer import PgBouncer
    from postgres_server import PostgresServer

    from aiocheckpoint.handlers.postgres._connection import PostgresConnection

OWNER = "a" * 16
SECONDS_TO_END = 30.0


def must_become(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, which it does soon."""
    deadline = time.monotonic() + SECONDS_TO_END
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def beat(connection: PostgresConnection) -> None:
    """Store the row of an owner with the session of a connection."""
    row = OwnerBeat(OWNER, "host", "boot", 5, "2026", 1, 30.0, connection.session)
    connection.heartbeat(row)


def is_open(connection: PostgresConnection) -> bool | None:
    """Whether the session of that owner is open, as a connection sees it."""
    (owner,) = connection.owners([OWNER])
    return owner.session_open


def test_session_is_seen(database_url: str) -> None:
    """Others see the session of an owner until it ends, and each connection has another one."""
    with connected(database_url) as other:
        with connected(database_url) as mine:
            assert mine.session != other.session
            beat(mine)
            assert is_open(other)
        must_become(lambda: is_open(other) is False)
        with connected(database_url) as again:
            beat(again)
            assert is_open(other)


def test_session_of_another_database(postgres: PostgresServer, database_url: str) -> None:
    """A lock of the same key in another database is none of this one's sessions."""
    with connected(database_url) as mine, psycopg.connect(postgres.url()) as elsewhere:
        beat(mine)
        elsewhere.execute("SELECT pg_advisory_lock(7)")
        mine.server.write("UPDATE SCHEMA.owners SET session = '7'")
        assert is_open(mine) is False


@pytest.mark.parametrize("how", ["fast", "immediate", "crash"])
def test_seconds_up(how: str, own_postgres: PostgresServer) -> None:
    """The server counts as up since its last restart, or since the crash of a session of it.

    A server whose sessions have all ended in such a crash keeps the time of its start.
    """
    url = own_postgres.url()
    with connected(url) as before:
        must_become(lambda: before.seconds_up() > 2)
        seconds = before.seconds_up()
        with connected(url) as second:  # Not the first that connects.
            assert second.seconds_up() >= seconds
            pid = second.server.link.info.backend_pid
            if how == "crash":
                os.kill(pid, signal.SIGKILL)
                must_become(before.is_lost)
            else:
                own_postgres.restart(how)  # type: ignore[arg-type]

    def is_back() -> bool:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            return False
        return True

    must_become(is_back)
    with connected(url) as after:
        assert 0 <= after.seconds_up() < seconds


@pytest.fixture
def narrow_pooler(postgres: PostgresServer) -> Generator[PgBouncer]:
    """Give a pooler with one session of the server for all its clients."""
    if find_pgbouncer() is None:
        pytest.skip("needs the program pgbouncer: apt-get install pgbouncer")
    with pgbouncer(postgres, default_pool_size=1) as started:
        yield started


def test_pooler_is_found(narrow_pooler: PgBouncer, database: str) -> None:
    """Behind a pooler, nothing of a session outlives a transaction, and others see no session."""
    url = narrow_pooler.url(database)
    handler = PostgresStateHandler(url, keep=3)
    for number in range(8):
        handler.write({"n": number}, "a")
    with connected(url) as connection:
        assert connection.server.is_pooled
        assert connection.session is None
        beat(connection)
        assert is_open(connection) is None
        lease = LeaseRecord((b"f", b"x"), "x", 1)
        for number in range(8):
            lease.asked_token = number + 1
            with connection.transaction():
                connection.claim([Claim(lease)], OWNER, 1.0)
                inside = connection.server.rows("SHOW lock_timeout")
        rows = connection.server.rows
        assert inside == [("1s",)]
        assert rows("SHOW lock_timeout") == [("0",)]
        assert rows("SHOW idle_in_transaction_session_timeout") == [("0",)]
        assert rows("SELECT count(*) FROM pg_prepared_statements") == [(0,)]
        assert rows("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
    handler.close()


def test_direct_session(database_url: str) -> None:
    """A direct session prepares the statements for one row, and has limits of its own."""
    with connected(database_url) as connection:
        assert not connection.server.is_pooled
        for _ in range(5):
            beat(connection)
        rows = connection.server.rows
        assert rows("SHOW lock_timeout") == [("1s",)]
        assert rows("SHOW idle_in_transaction_session_timeout") == [("10s",)]
        prepared = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%owners%%'"
        assert rows(prepared) == [(1,)]


def test_pooler_that_does_not_know_an_option(pooler: PgBouncer, database: str) -> None:
    """A connection needs no parameter that PgBouncer refuses, so that it needs no setting."""
    assert "ignore_startup_parameters" not in (pooler.folder / "pgbouncer.ini").read_text("utf-8")
    handler = PostgresStateHandler(pooler.url(database))
    handler.write({"n": 1}, "a")
    handler.close()


def test_forked_child_keeps_no_session(
    postgres: PostgresServer, database: str, database_url: str
) -> None:
    """The session of a killed process ends, though a forked child of it lives on."""

    def sessions() -> int:
        statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        ((count,),) = postgres.sql(statement, database)
        return int(count)

    command = [sys.executable, str(program("postgres_fork_script.py")), database_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            assert sessions() == 2  # One writes, and one reads.
            parent.kill()
            must_become(lambda: sessions() == 0)
            os.kill(child, 0)  # It lives.
        finally:
            os.kill(child, signal.SIGKILL)


def test_forked_child_does_not_end_the_session(database_url: str) -> None:
    """The session of a process goes on after a forked child has used the handler and ended."""
    handler = PostgresStateHandler(database_url)
    handler.write({"n": 0}, "a")
    with handler.locked("held"):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                handler.write({"n": 1}, "a")
                handler.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        assert handler.read("a") == {"n": 1}
        handler.write({"n": 2}, "b")
    assert handler.read("b") == {"n": 2}
    handler.close()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """Give a folder with a key and a certificate of 127.0.0.1, and another certificate."""
    if which("openssl") is None:
        pytest.skip("needs the program openssl: apt-get install openssl")
    for name in ("server", "other"):
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext"
        files = f"subjectAltName=IP:127.0.0.1 -keyout {name}.key -out {name}.crt"
        words = [*command.split(), *files.split()]
        subprocess.run(words, check=True, capture_output=True, cwd=tmp_path)
        give_to_server_user(tmp_path / f"{name}.key")
    return tmp_path


def test_tls(certificates: Path, postgres: PostgresServer, database: str, tmp_path: Path) -> None:
    """TLS options reach libpq: a server with the right certificate is used, and no other."""
    if find_pgbouncer() is None:
        pytest.skip("needs the program pgbouncer: apt-get install pgbouncer")
    with server_folder() as folder:
        for name in ("server.key", "server.crt"):
            copied = folder / name
            copied.write_bytes((certificates / name).read_bytes())
            give_to_server_user(copied)
        settings: dict[str, object] = {
            "client_tls_sslmode": "require",
            "client_tls_key_file": folder / "server.key",
            "client_tls_cert_file": folder / "server.crt",
        }
        with pgbouncer(postgres, **settings) as pooler:
            plain = pooler.url(database, sslmode="disable")
            right = pooler.url(
                database, sslmode="verify-full", sslrootcert=str(tmp_path / "server.crt")
            )
            wrong = pooler.url(
                database, sslmode="verify-full", sslrootcert=str(tmp_path / "other.crt")
            )
            for refused in (plain, wrong):
                with pytest.raises(StorageError, match="do not fit the server") as info:
                    PostgresStateHandler(refused).write({"n": 1}, "a")
                assert not isinstance(info.value, StoreUnreachableError)
            handler = PostgresStateHandler(right)
            handler.write({"n": 1}, "a")
            with connected(right) as connection:
                assert connection.server.link.pgconn.ssl_in_use
            handler.close()


def test_first_host_is_down(postgres: PostgresServer, database: str) -> None:
    """Of several hosts, the first that answers is used."""
    hosts = f"127.0.0.1:{find_port()},127.0.0.1:{postgres.port}"
    handler = PostgresStateHandler(postgres.url(database, host=hosts))
    handler.write({"n": 1}, "a")
    assert handler.read("a") == {"n": 1}
    assert hosts in handler.locate("a")
    handler.close()
