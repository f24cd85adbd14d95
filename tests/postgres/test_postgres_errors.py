"""Errors of the server by their SQLSTATE: what is out of reach, and what comes out at once."""

from __future__ import annotations

import errno
import socket
import threading
import time
from typing import TYPE_CHECKING

import psycopg
import pytest
from postgres_connections import connected, server_connection

from aiocheckpoint.errors import StorageError, StoreUnreachableError
from aiocheckpoint.handlers.postgres import PostgresStateHandler
from aiocheckpoint.handlers.postgres._connecting import connect
from aiocheckpoint.handlers.postgres._errors import not_connected
from aiocheckpoint.handlers.postgres._url import parse_url

if TYPE_CHECKING:
    from postgres_server import PostgresServer
    from tcp_proxy import TcpProxy

OUT_OF_REACH = {
    *("08000", "08003", "08006", "25006", "25P03", "40001", "40003", "40P01"),
    *("53300", "55P03", "57014", "57P01", "57P02", "57P03", "57P05"),
}
AT_ONCE = {
    *("22023", "23505", "42501", "42P01", "42703", "53100", "53200", "54000"),
    *("58030", "XX000", "XX001", "XX002"),
}


def raised(url: str, code: str) -> StorageError:
    """Let the server raise an error with this SQLSTATE, and give the library's error."""
    with server_connection(url) as one:
        statement = f"DO $$ BEGIN RAISE 'the reason' USING ERRCODE = '{code}'; END $$"
        with pytest.raises(StorageError) as info:
            one.write(statement)
        return info.value


@pytest.mark.parametrize("code", sorted(OUT_OF_REACH))
def test_out_of_reach(code: str, database_url: str) -> None:
    """A server that may answer soon is out of reach, so that the request is repeated."""
    error = raised(database_url, code)
    assert isinstance(error, StoreUnreachableError)
    assert error.problem == f"the reason (SQLSTATE {code})"


@pytest.mark.parametrize("code", sorted(AT_ONCE))
def test_at_once(code: str, database_url: str) -> None:
    """Any other error comes out at once, with its code, and behind it no error of psycopg."""
    error = raised(database_url, code)
    assert not isinstance(error, StoreUnreachableError)
    assert code in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert error.damaged == (code in {"XX001", "XX002"})
    assert error.errno == {
        "42501": errno.EACCES,
        "53100": errno.ENOSPC,
        "53200": errno.ENOMEM,
        "58030": errno.EIO,
    }.get(code)


def test_no_value_of_a_row(database_url: str) -> None:
    """The details of an error, which have values of rows, are in no message."""
    with server_connection(database_url) as one:
        one.write("CREATE TABLE t (id text PRIMARY KEY)")
        one.write("INSERT INTO t VALUES ('canary')")
        with pytest.raises(StorageError, match="23505") as info:
            one.write("INSERT INTO t VALUES ('canary')")
    assert "canary" not in repr(info.value)


SETTINGS = {
    "default_transaction_read_only = on": ("read-only", "default_transaction_read_only = off"),
    "statement_timeout = '1ms'": ("57014", "statement_timeout"),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_of_a_role(
    setting: str, postgres: PostgresServer, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A role that may not write is out of reach, with the server's words and the remedy."""
    role = f"bound_{setting.partition(' ')[0]}"
    postgres.sql(f"CREATE ROLE {role} LOGIN SUPERUSER")
    postgres.sql(f"ALTER ROLE {role} SET {setting}")
    words, remedy = SETTINGS[setting]
    handler = PostgresStateHandler(postgres.url(database, user=role), patience=1)
    try:
        with pytest.raises(StoreUnreachableError, match=words) as info:
            handler.write({"n": 1}, "a")
    finally:
        handler.close()
        postgres.sql(f"DROP ROLE {role}")
    assert remedy in info.value.remedy
    assert info.value.remedy in str(info.value)
    if "read_only" in setting:  # One that ends a statement alone is no outage of the server.
        assert remedy in caplog.text


@pytest.mark.parametrize("limited", ["ROLE", "DATABASE"])
def test_connection_limit(limited: str, postgres: PostgresServer, database: str) -> None:
    """A limit of connections is out of reach, with the words of the server and the remedy."""
    postgres.sql("CREATE ROLE limited LOGIN")
    name = "limited" if limited == "ROLE" else database
    postgres.sql(f'ALTER {limited} "{name}" CONNECTION LIMIT 0')
    handler = PostgresStateHandler(postgres.url(database, user="limited"), patience=0.2)
    try:
        with pytest.raises(StoreUnreachableError, match="too many connections") as info:
            handler.write({"n": 1}, "a")
    finally:
        postgres.sql("DROP ROLE limited")
    assert "CONNECTION LIMIT" in info.value.remedy


def test_a_port_of_another_program() -> None:
    """A program that is no PostgreSQL server is told so, and neither TLS nor the password."""

    def answer(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(1024)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        handler = PostgresStateHandler(f"postgresql://127.0.0.1:{listener.getsockname()[1]}/shop")
        try:
            with pytest.raises(StorageError, match="No PostgreSQL server answers there") as info:
                handler.read("a")
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert "password" not in str(info.value)
    assert "sslmode" not in str(info.value)


def test_terminated_backend(database_url: str, postgres: PostgresServer) -> None:
    """A connection that an administrator has ended is lost, and is found so without a query."""
    with connected(database_url) as connection:
        assert not connection.is_lost()
        postgres.terminate_backends("application_name = 'aiocheckpoint'")
        deadline = time.monotonic() + 10
        while not connection.is_lost() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert connection.is_lost()
        with pytest.raises(StoreUnreachableError):
            connection.seconds_up()


def test_frozen_network(database_url: str, proxy: TcpProxy, database: str) -> None:
    """An answer that does not come, over a connection that is not cut, is waited for to an end."""
    del database_url
    address = parse_url(f"postgresql://postgres@{proxy.place}/{database}")
    one = connect(address, writes=True, seconds_to_answer=0.5)
    assert one.rows("SELECT 1") == [(1,)]
    proxy.freeze()
    with pytest.raises(StoreUnreachableError, match=r"no answer came within 0\.5\d* s"):
        one.rows("SELECT 1")
    proxy.thaw()
    one.close()


def test_slow_answer(database_url: str) -> None:
    """A server that takes longer than that is out of reach, and one that sends meanwhile is not."""
    one = connect(parse_url(database_url), writes=True, seconds_to_answer=0.5)
    try:
        rows = one.rows("SELECT pg_sleep(0.02), repeat('x', 100000) FROM generate_series(1, 50)")
        assert len(rows) == 50
        with pytest.raises(StoreUnreachableError):
            one.rows("SELECT pg_sleep(2)")
    finally:
        one.close()


def test_read_only_server(own_postgres: PostgresServer) -> None:
    """A read-only server is out of reach for writing, before and after the connection."""
    url = own_postgres.url()
    with connected(url) as connection:
        own_postgres.configure(default_transaction_read_only="on")
        own_postgres.restart()
        with pytest.raises(StoreUnreachableError), connected(url):
            pass
        with connected(url, writes=False) as reading:
            assert reading.read_kept((b"f", b"a")) == []
        assert connection.is_lost()


def test_no_connection_free(own_postgres: PostgresServer) -> None:
    """A server that lets no more connections in is out of reach."""
    own_postgres.sql("CREATE ROLE few LOGIN CONNECTION LIMIT 1")
    with psycopg.connect(own_postgres.url(user="few")):
        handler = PostgresStateHandler(own_postgres.url(user="few"), patience=0.2)
        with pytest.raises(StoreUnreachableError, match="too many connections"):
            handler.write({"n": 1}, "a")


@pytest.mark.parametrize(
    ("text", "first", "waits"),
    [
        ("FATAL:  the database system is starting up", True, True),
        ("FATAL:  the database system is not yet accepting connections", True, True),
        ("FATAL:  sorry, too many clients already", True, True),
        ("FATAL:  remaining connection slots are reserved for roles with ...", True, True),
        ("session is read-only", True, True),
        ("server is in hot standby mode", True, True),
        ("server closed the connection unexpectedly\n\tThis probably means", True, True),
        ("SSL connection has been closed unexpectedly", True, True),
        ("FATAL:  query_wait_timeout", True, True),
        ("FATAL:  password authentication failed for user x", True, False),
        ("FATAL:  password authentication failed for user x", False, False),
        ("could not translate host name x", True, False),
        ("could not translate host name x", False, True),
        ("SSL error: certificate verify failed", True, False),
        ("SSL error: certificate verify failed", False, False),
        ("FATAL:  das Datenbanksystem startet", True, False),
        ("FATAL:  das Datenbanksystem startet", False, True),
    ],
)
def test_texts_of_libpq(text: str, *, first: bool, waits: bool) -> None:
    """While connecting, libpq gives texts alone. An unknown one is an error at the first use."""
    error = psycopg.OperationalError(f"connection failed: {text}")
    found = not_connected(error, parse_url("postgresql://h/d"), first=first)
    assert isinstance(found, StoreUnreachableError) == waits
