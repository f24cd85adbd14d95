"""Connections of the PostgreSQL store for tests of its statements, without a handler."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiocheckpoint.handlers.leased import OwnerBeat
from aiocheckpoint.handlers.postgres._connecting import connect
from aiocheckpoint.handlers.postgres._connection import PostgresConnection
from aiocheckpoint.handlers.postgres._url import parse_url

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiocheckpoint.handlers.postgres._server_connection import ServerConnection

SECONDS_TO_ANSWER = 30.0


@contextmanager
def server_connection(
    url: str, schema: str | None = None, *, writes: bool = True
) -> Generator[ServerConnection]:
    """Give a connection, whose schema may have no tables yet."""
    made = connect(parse_url(url, schema), writes=writes, seconds_to_answer=SECONDS_TO_ANSWER)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def connected(
    url: str, schema: str | None = None, *, writes: bool = True
) -> Generator[PostgresConnection]:
    """Give a connection with all statements, and make the tables, if it writes."""
    with server_connection(url, schema, writes=writes) as made:
        connection = PostgresConnection(made, writes=writes)
        try:
            yield connection
        finally:
            connection.close()


def register(connection: PostgresConnection, *owner_ids: str) -> None:
    """Give owners rows, without which they claim nothing. Nobody sees their sessions."""
    for owner_id in owner_ids:
        connection.heartbeat(OwnerBeat(owner_id, "h", "", 6, "2026", 1, 9.0, None))
