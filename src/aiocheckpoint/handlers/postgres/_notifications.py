"""LISTEN and NOTIFY (https://www.postgresql.org/docs/current/sql-notify.html).

A commit with NOTIFY waits for those of all other sessions of the server, flush included. With 16
clients on a disk of 4 ms, 490 commits a second are left of 4,700. So no step notifies. The end of a
run does where a process has announced to wait for it, and a queued run where a worker has nothing
to do. Such a worker holds a lock, by which others see it.

A pooler in transaction mode passes no notification on, and no lock outlives a transaction there.
"""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING

import psycopg

from aiocheckpoint.handlers.leased import StoreListener
from aiocheckpoint.handlers.postgres._errors import translate_error

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    from aiocheckpoint.handlers.postgres._server_connection import ServerConnection

__all__ = ["PostgresListener", "notify"]

_MOST_BYTES = 7900
"""A payload has less than 8,000 bytes."""
_NOTIFY = "SELECT pg_notify(%(channel)s, payload) FROM unnest(%(payloads)s::text[]) AS payload"
_NOTIFY_ATTENDED = """SELECT pg_notify(%(channel)s, notice)
FROM unnest(%(notices)s::text[], %(numbers)s::integer[]) AS told (notice, number)
WHERE EXISTS (
    SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid::bigint = %(class_id)s AND objid::bigint = (number::bigint & 4294967295)
)"""
_ATTEND = "SELECT pg_advisory_lock_shared(%s::integer, %s::integer)"
_FORGET = "SELECT pg_advisory_unlock_shared(%s::integer, %s::integer)"


def notify(
    server: ServerConnection, notices: Collection[str], *, if_attended: Collection[str] = ()
) -> None:
    """Send notices to all listeners when the transaction commits.

    Args:
        server: The connection that writes.
        notices: Are sent in any case.
        if_attended: Are sent where some process waits for them now, which is asked for each.
    """
    channel = _channel(server)
    if notices:
        server.rows(_NOTIFY, {"channel": channel, "payloads": list(_payloads(notices))})
    if if_attended:
        values = {
            "channel": channel,
            "notices": list(if_attended),
            "numbers": [_number(notice) for notice in if_attended],
            "class_id": _number(channel) & 0xFFFFFFFF,
        }
        server.rows(_NOTIFY_ATTENDED, values)


class PostgresListener(StoreListener):
    """A connection that listens.

    Args:
        server: The connection, to a server that writes, without a pooler.
    """

    def __init__(self, server: ServerConnection) -> None:
        self._server, self._link = server, server.link
        self._channel = _channel(server)
        self._attended: set[str] = set()
        self._heard: list[str] = []
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.settimeout(0)
        # psycopg hands on those that come with the answer to a statement.
        self._link.add_notify_handler(lambda notify: self._heard.extend(notify.payload.split()))
        try:
            server.write(f'LISTEN "{self._channel}"')
        except BaseException:
            self.close()
            raise

    def wait(self, seconds: float) -> list[str]:
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            for watched in (self._link.pgconn.socket, self._woken):
                selector.register(watched, selectors.EVENT_READ)
            while not self._take_heard() and (left := deadline - time.monotonic()) > 0:
                selector.select(left)
                if self._is_woken():
                    break
        self._take_heard()
        heard, self._heard = self._heard, []
        return heard

    def wake(self) -> None:
        with suppress(OSError):  # It is full, and wakes anyway, or was closed.
            self._waker.send(b"\0")

    def notify(self, notices: Collection[str]) -> None:
        notify(self._server, notices)

    def attend(self, notices: Collection[str]) -> None:
        wanted = set(notices)
        class_id = _number(self._channel)
        for notice in wanted - self._attended:
            self._server.rows(_ATTEND, (class_id, _number(notice)))
        for notice in self._attended - wanted:
            self._server.rows(_FORGET, (class_id, _number(notice)))
        self._attended = wanted

    def close(self) -> None:
        self._server.close()
        self._woken.close()
        self._waker.close()

    def abandon(self) -> None:
        self._server.abandon()
        self._woken.close()
        self._waker.close()

    def _take_heard(self) -> bool:
        """Read what has come, without waiting, and say whether there are notices."""
        pgconn = self._link.pgconn
        try:
            pgconn.consume_input()
        except psycopg.Error as error:
            failure = translate_error(error, self._server.address, "listening to")
        else:
            while (notification := pgconn.notifies()) is not None:
                self._heard += notification.extra.decode("ascii", "replace").split()
            return bool(self._heard)
        raise failure

    def _is_woken(self) -> bool:
        with suppress(BlockingIOError):
            return bool(self._woken.recv(4096))
        return False


def _channel(server: ServerConnection) -> str:
    """The name of the channel of a schema, which holds for its database alone."""
    return "aiocheckpoint_" + blake2b(server.address.schema.encode(), digest_size=8).hexdigest()


def _number(text: str) -> int:
    """The number of a lock for a text."""
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big", signed=True)


def _payloads(notices: Collection[str]) -> Generator[str, None, None]:
    """Put as many notices into a payload as it takes."""
    payload = ""
    for notice in sorted(notices):
        if len(payload) + len(notice) >= _MOST_BYTES:
            yield payload
            payload = ""
        payload = f"{payload} {notice}" if payload else notice
    yield payload
