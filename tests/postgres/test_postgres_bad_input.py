"""Places that cannot be used: an error of the library at once, with the remedy, and no secret."""

from __future__ import annotations

import logging
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from free_ports import find_port

from aiocheckpoint import CheckpointFlow, open_handler
from aiocheckpoint.errors import (
    CheckpointError,
    InvalidTypeError,
    InvalidValueError,
    MissingExtraError,
    StorageError,
    StoreUnreachableError,
)
from aiocheckpoint.handlers.postgres import PostgresStateHandler

if TYPE_CHECKING:
    from collections.abc import Generator

    from postgres_server import PostgresServer

CANARY = "canary"
AT_ONCE = 10.0
"""Seconds. Less than the patience of every handler here, and much more than any of them takes."""


def refused(url: str, words: str, **options: Any) -> StorageError:  # noqa: ANN401
    """Write to a place, and give the error, which comes at once and is no want of patience."""
    begun = time.monotonic()
    handler = PostgresStateHandler(url, flow="f", patience=60, **options)
    with pytest.raises(StorageError, match=words) as info:
        handler.write({"n": 1}, "a")
    assert time.monotonic() - begun < AT_ONCE
    assert not isinstance(info.value, StoreUnreachableError)
    with pytest.raises(StorageError, match=words):
        handler.read("a")
    return info.value


def chained(error: BaseException | None) -> str:
    """All that a traceback of an error would show of it and of the errors behind it."""
    texts: list[str] = []
    while error is not None:
        texts += [repr(error), str(error), str(getattr(error, "__notes__", ""))]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


def all_that_is_shown(url: str, **options: Any) -> str:  # noqa: ANN401
    """All texts of the flow of a URL, or of the error that refuses it."""
    try:
        flow = CheckpointFlow[dict[str, Any]](url, **options)
    except InvalidValueError as error:
        return chained(error)
    handler = flow.handler
    return f"{flow!r} {handler!r} {handler.locate('a')} {handler.flow}"


@pytest.fixture(scope="module")
def guarded(postgres: PostgresServer) -> Generator[PostgresServer]:
    """Give the server with a user who needs a password, and one who may not connect."""
    postgres.sql("CREATE ROLE canary_user LOGIN PASSWORD 'right'")
    hba = postgres.data / "pg_hba.conf"
    before = hba.read_text("utf-8")
    rules = "host all canary_user all scram-sha-256\nhost all stranger all reject\n"
    hba.write_text(rules + before, "utf-8")
    postgres.reload()
    time.sleep(0.2)
    yield postgres
    hba.write_text(before, "utf-8")
    postgres.reload()
    postgres.sql("DROP OWNED BY canary_user")
    postgres.sql("DROP ROLE canary_user")


def test_wrong_password(guarded: PostgresServer) -> None:
    """A wrong password, or none, is an error at once that shows neither it nor the user."""
    place = f"127.0.0.1:{guarded.port}/postgres"
    for user in (f"canary_user:{CANARY}", "canary_user"):
        error = refused(f"postgresql://{user}@{place}", "refuses the user or the password")
        assert CANARY not in chained(error)


def test_right_password(guarded: PostgresServer) -> None:
    """The password counts, so that a wrong one was the reason."""
    database = guarded.create_database()
    guarded.sql(f'GRANT CREATE ON DATABASE "{database}" TO canary_user')
    url = f"postgresql://canary_user:right@127.0.0.1:{guarded.port}/{database}"
    handler = PostgresStateHandler(url)
    handler.write({"n": 1}, "a")
    assert handler.read("a") == {"n": 1}
    handler.close()
    guarded.drop_database(database)


@pytest.mark.parametrize("user", ["stranger", "nobody_of_this_name"])
def test_user_who_is_not_let_in(guarded: PostgresServer, user: str) -> None:
    """A user without an entry in pg_hba.conf, or who does not exist, is told so at once."""
    refused(guarded.url(user=user), "does not let this user in")


def test_unknown_host() -> None:
    """A name that nobody knows is an error at once, as it is mistyped more often than lost."""
    refused("postgresql://host.invalid/shop", "name of the host cannot be resolved")


def test_unknown_database(postgres: PostgresServer) -> None:
    """A database that does not exist is an error at once, and is not made."""
    refused(postgres.url("nowhere"), "CREATE DATABASE")


def test_no_tls(postgres: PostgresServer) -> None:
    """TLS options that the server cannot meet are an error at once, and no plain connection."""
    refused(postgres.url(sslmode="require"), "do not fit the server")


def test_options_that_the_server_refuses(postgres: PostgresServer) -> None:
    """A refusal that nobody foresaw is an error at once, without the value that was refused."""
    url = postgres.url(options=f"-c {CANARY}={CANARY}")
    assert CANARY not in chained(refused(url, "Correct the URL or the server"))


def test_service_that_is_unknown() -> None:
    """A service that no file has is an error at once."""
    refused("postgresql:///?service=nowhere", "name of the service")


def test_server_that_is_down() -> None:
    """A server that nobody runs is out of reach until patience is over."""
    url = f"postgresql://ann:{CANARY}@127.0.0.1:{find_port()}/shop?passfile=/{CANARY}"
    handler = PostgresStateHandler(url, patience=0.2)
    with pytest.raises(StoreUnreachableError, match="Connection refused") as info:
        handler.write({"n": 1}, "a")
    assert CANARY not in chained(info.value)


@contextmanager
def server_of_version(version: str) -> Generator[int]:
    """Give the port of a program that lets anybody in, and says that it has this version.

    No such old server can be installed. It speaks no more of the protocol than the login
    (https://www.postgresql.org/docs/current/protocol-flow.html).
    """

    def message(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack("!I", len(body) + 4) + body

    status = b"server_version\0" + version.encode() + b"\0"
    encoding = b"client_encoding\0UTF8\0"
    welcome = (
        message(b"R", struct.pack("!I", 0))
        + message(b"S", status)
        + message(b"S", encoding)
        + message(b"S", b"default_transaction_read_only\0off\0")
        + message(b"S", b"in_hot_standby\0off\0")
        + message(b"Z", b"I")
    )

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                (size,) = struct.unpack("!I", client.recv(4))
                request = client.recv(size - 4)
                if struct.unpack("!I", request[:4])[0] != 3 << 16:  # It asks for encryption first.
                    client.sendall(b"N")
                    (size,) = struct.unpack("!I", client.recv(4))
                    client.recv(size - 4)
                client.sendall(welcome)
                client.recv(1 << 16)  # Until the client says goodbye.

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_old_server() -> None:
    """A server of a version that nobody tests any more is refused by that reason."""
    with server_of_version("14.23") as port:
        refused(f"postgresql://ann@127.0.0.1:{port}/shop", "version 14, and 15 or newer is needed")


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"lease": 0}, InvalidValueError),
        ({"lease": float("inf")}, InvalidValueError),
        ({"lease": "30"}, InvalidTypeError),
        ({"lease": True}, InvalidTypeError),
        ({"patience": -1}, InvalidValueError),
        ({"patience": float("nan")}, InvalidValueError),
        ({"patience": float("inf")}, InvalidValueError),
        ({"patience": None}, InvalidTypeError),
        ({"schema": "a b"}, InvalidValueError),
        ({"schema": 1}, InvalidTypeError),
        ({"keep": 0}, InvalidValueError),
        ({"fsync": True}, InvalidValueError),
        ({"secret": "short"}, InvalidValueError),
        ({"name": "ä" * 501}, InvalidValueError),
    ],
)
def test_bad_options(options: dict[str, Any], kind: type[CheckpointError]) -> None:
    """An option that cannot be meant is refused when the flow is made, before any connection."""
    (word,) = options
    word = {"name": "name of a flow", "secret": "secret"}.get(word, f"{word}=")
    with pytest.raises(kind, match=word):
        CheckpointFlow("postgresql://host.invalid/shop", **options)
    with pytest.raises(kind, match=word):
        open_handler("postgresql://host.invalid/shop", **options)


@pytest.mark.parametrize("make", [CheckpointFlow, open_handler, PostgresStateHandler])
def test_option_of_libpq(make: Any) -> None:  # noqa: ANN401
    """An option of libpq belongs into the URL, and its value is not shown."""
    with pytest.raises(InvalidValueError, match=r"sslpassword= is no.*DATABASE\?option=") as info:
        make("postgresql://host.invalid/shop", sslpassword=CANARY)
    assert CANARY not in chained(info.value)
    with pytest.raises(InvalidValueError) as info:
        make("postgresql://host.invalid/shop", nonsense=CANARY)
    assert "libpq" not in str(info.value)


@pytest.mark.parametrize("url", ["postgresql://ann:canary@host", "postgres:///", "postgres://h/?a"])
def test_url_without_a_name(url: str) -> None:
    """A URL without a path names neither a flow nor a database, and both are asked for."""
    with pytest.raises(InvalidValueError, match="by name=") as info:
        CheckpointFlow(url)
    assert CANARY not in str(info.value)
    with pytest.raises(InvalidValueError, match=r"names no database|does not know"):
        CheckpointFlow(url, name="shop")


@pytest.mark.parametrize("end", ["", "?a=b", "#z", "/q", "?a=b&c"])
@pytest.mark.parametrize(
    "start", ["", "1/", "1?", "1#", "p@", "p:", "%", "1/2?", "1?a=", "1/x?y=", "1/x#"]
)
def test_password_that_is_not_encoded(start: str, end: str) -> None:
    """No part of a password is shown, whatever characters in it were not encoded."""
    url = f"postgresql://ann:{start}{CANARY}{end}@host/shop"
    assert CANARY not in all_that_is_shown(url)
    assert CANARY not in all_that_is_shown(url, name="shop")


@pytest.mark.parametrize(
    ("url", "options", "name"),
    [
        ("postgresql://ann:canary@host/shop", {}, "shop"),
        ("postgres://ann:canary@host/shop?user=canary", {}, "shop"),
        ("postgresql:///?service=prod", {"name": "orders"}, "orders"),
        ("postgresql://host/shop", {"name": "orders"}, "orders"),
    ],
)
def test_name(url: str, options: dict[str, str], name: str) -> None:
    """A flow is named after the database, or by `name=`, and nothing connects for that."""
    flow = CheckpointFlow[dict[str, Any]](url, **options)  # type: ignore[arg-type]
    handler = flow.handler
    assert isinstance(handler, PostgresStateHandler)
    assert handler.flow == name
    assert CANARY not in repr(handler) + handler.locate("a")


def test_repr() -> None:
    """The handler shows its options that are no defaults, and no secret."""
    handler = PostgresStateHandler(
        "postgresql://ann:canary@host/shop", schema="jobs", keep=3, lease=5, patience=9
    )
    assert repr(handler) == (
        "PostgresStateHandler('postgresql://***@host/shop', flow='shop', keep=3, lease=5.0, "
        "patience=9.0, schema='jobs')"
    )


WITHOUT_PSYCOPG = """
import sys
sys.modules["psycopg"] = None
from aiocheckpoint import CheckpointFlow, MissingExtraError
try:
    CheckpointFlow("postgresql://ann:canary@host/shop")
except MissingExtraError as error:
    print(error)
"""


def test_missing_extra() -> None:
    """Without psycopg, the error names the extra that brings it."""
    command = [sys.executable, "-c", WITHOUT_PSYCOPG]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "pip install 'aiocheckpoint[postgres]'" in done.stdout
    assert "'psycopg'" in done.stdout
    assert CANARY not in done.stdout
    assert issubclass(MissingExtraError, ImportError)


def test_nothing_is_logged_of_a_password(caplog: pytest.LogCaptureFixture) -> None:
    """No record of any logger, of psycopg's neither, has a part of the URL that may be secret."""
    caplog.set_level(logging.DEBUG)
    url = f"postgresql://{CANARY}:{CANARY}@127.0.0.1:{find_port()}/shop?passfile=/{CANARY}"
    with pytest.raises(StoreUnreachableError):
        PostgresStateHandler(url, patience=0.3).write({"n": 1}, "a")
    assert caplog.records
    assert CANARY not in caplog.text
