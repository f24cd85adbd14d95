"""Processes hear notices through the server, and see whether anybody waits for one."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from aiocheckpoint import StoreUnreachableError
from aiocheckpoint.handlers.leased._listener import queue_notice, release_notice
from aiocheckpoint.handlers.postgres._connecting import connect
from aiocheckpoint.handlers.postgres._notifications import PostgresListener, notify
from aiocheckpoint.handlers.postgres._url import parse_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgres_server import PostgresServer

    from aiocheckpoint.handlers.postgres._server_connection import ServerConnection

LIMIT = 30.0
"""Seconds. A bound against hanging."""
RUN, QUEUE = release_notice((b"orders", b"order-1")), queue_notice(b"orders")


def server_connection(url: str, schema: str = "aiocheckpoint") -> ServerConnection:
    """Connect as a handler does."""
    return connect(parse_url(url, schema), writes=True, seconds_to_answer=LIMIT)


@pytest.fixture
def teller(database_url: str) -> Iterator[ServerConnection]:
    """Give a connection that tells."""
    with closing(server_connection(database_url)) as made:
        yield made


@pytest.fixture
def listener(database_url: str) -> Iterator[PostgresListener]:
    """Give a connection that listens."""
    with closing(PostgresListener(server_connection(database_url))) as made:
        yield made


def test_a_notice_is_heard(teller: ServerConnection, listener: PostgresListener) -> None:
    """A notice reaches a listener when its transaction has been committed, and not before."""
    with teller.transaction():
        notify(teller, [RUN])
        assert listener.wait(0.1) == []
    assert listener.wait(LIMIT) == [RUN]


def test_a_transaction_that_is_rolled_back_tells_nothing(
    teller: ServerConnection, listener: PostgresListener
) -> None:
    """What did not happen is not told."""

    def roll_back() -> None:
        with teller.transaction():
            notify(teller, [RUN])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        roll_back()
    notify(teller, [QUEUE])
    assert listener.wait(LIMIT) == [QUEUE]


def test_many_notices_of_one_commit(teller: ServerConnection, listener: PostgresListener) -> None:
    """More notices than a payload takes arrive all the same."""
    notices = {release_notice((b"orders", b"%d" % number)) for number in range(2000)}
    notify(teller, notices)
    heard: set[str] = set()
    deadline = time.monotonic() + LIMIT
    while heard < notices and time.monotonic() < deadline:
        heard.update(listener.wait(1.0))
    assert heard == notices


def test_other_schemas_hear_nothing(database_url: str, listener: PostgresListener) -> None:
    """Stores of two schemas in one database do not hear each other."""
    with closing(server_connection(database_url, "other")) as other:
        notify(other, [RUN])
    with closing(server_connection(database_url)) as same:
        notify(same, [QUEUE])
    assert listener.wait(LIMIT) == [QUEUE]


def told(teller: ServerConnection, listener: PostgresListener) -> list[str]:
    """Tell of a due run where that is attended, and give what came before the end of a run."""
    notify(teller, [], if_attended=[QUEUE])
    notify(teller, [RUN])
    heard: list[str] = []
    while RUN not in heard:
        heard += listener.wait(LIMIT)
    return heard[:-1]


def test_only_what_is_attended_is_told(
    database_url: str, teller: ServerConnection, listener: PostgresListener
) -> None:
    """A notice that is told only to those who wait for it now is not told without any."""
    with closing(PostgresListener(server_connection(database_url))) as waiting:
        assert told(teller, listener) == []
        waiting.attend([QUEUE])
        assert told(teller, listener) == [QUEUE]
        waiting.attend([])
        assert told(teller, listener) == []
        waiting.attend([QUEUE])
    deadline = time.monotonic() + LIMIT
    while told(teller, listener):  # The server notices soon that the connection was closed.
        assert time.monotonic() < deadline


def test_a_wait_is_ended_from_another_thread(listener: PostgresListener) -> None:
    """`wake` ends the wait, also one that comes later, and is harmless after the end."""
    threading.Timer(0.1, listener.wake).start()
    assert listener.wait(LIMIT) == []
    listener.wake()
    assert listener.wait(LIMIT) == []
    listener.close()
    listener.wake()


def test_a_listener_tells_and_hears(listener: PostgresListener) -> None:
    """What comes with the answer to a statement of the listener's own is heard."""
    listener.notify([RUN])
    assert listener.wait(LIMIT) == [RUN]


def test_a_lost_connection_is_noticed(postgres: PostgresServer, listener: PostgresListener) -> None:
    """An administrator who ends the connection ends the wait."""
    threading.Timer(0.1, postgres.terminate_backends, ["query LIKE 'LISTEN%'"]).start()
    with pytest.raises(StoreUnreachableError):
        listener.wait(LIMIT)


def test_no_run_id_is_told(teller: ServerConnection, listener: PostgresListener) -> None:
    """Nobody who reads the server's log of statements, or listens, learns the id of a run."""
    notify(teller, [release_notice((b"secret-flow", b"secret-run"))])
    (heard,) = listener.wait(LIMIT)
    assert "secret" not in heard
    assert len(heard) < 40
