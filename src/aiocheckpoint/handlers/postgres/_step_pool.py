"""Connections for the transactions of steps: at most so many at once, kept for the next ones."""

from __future__ import annotations

import os
import time
import weakref
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import psycopg

from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
from aiocheckpoint._concurrency.slots import Slots
from aiocheckpoint._concurrency.work_items import WorkItem
from aiocheckpoint.errors import NoThreadError, StoreUnreachableError
from aiocheckpoint.handlers.postgres._connecting import connect
from aiocheckpoint.handlers.postgres._connection import PostgresConnection
from aiocheckpoint.handlers.postgres._errors import translate_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint.handlers.leased._patience import Patience
    from aiocheckpoint.handlers.postgres._server_connection import ServerConnection
    from aiocheckpoint.handlers.postgres._store import PostgresStore

__all__ = ["BegunTransaction", "StepConnectionPool", "execute", "execute_raw", "is_read_only"]

_IDLE_SECONDS = 60.0
"""A connection that was not used for so long is closed when another one is given back."""
_IDLE_THREAD_SECONDS = 5.0
_CHECK_CLIENT = "client_connection_check_interval = '2s'"
"""How soon the server ends the statement of a client that has gone, and with it the locks of its
transaction (https://www.postgresql.org/docs/current/runtime-config-connection.html). A cancelled
step may have to leave a statement that is being executed. Some servers cannot look."""
_READ_ONLY = (b"in_hot_standby", b"default_transaction_read_only")
"""The server reports a change of these by itself, as after a failover."""


_NAME = "BEGIN; SELECT extract(epoch FROM now())::text; COMMIT"
"""Gives the time of begin of the transaction that follows in the same message, which is that of the
message. A query in the transaction itself would keep the step from setting its isolation level."""


class BegunTransaction(NamedTuple):
    """A connection in a transaction.

    Attributes:
        connection: The connection.
        name: The time of its begin on the server, which another transaction has not.
    """

    connection: PostgresConnection
    name: str


class OpenTransaction(Protocol):
    """A transaction that holds one of the connections."""

    @property
    def is_lost(self) -> bool:
        """Whether its event loop is closed, so that nobody ends it."""
        ...

    def abandon(self) -> None:
        """End it at once."""


class StepConnectionPool:
    """The connections of one handler for the transactions of steps.

    Args:
        store: The database.
        count: The most connections at once.
        patience: Decides how long a connection is tried.

    Attributes:
        patience: The same.
        slots: Held by each transaction.
        threads: One for each transaction, so that their calls wait for no other work.
    """

    def __init__(self, store: PostgresStore, count: int, patience: Patience) -> None:
        self.patience: Patience = patience
        self._store, self._count = store, count
        self._idle: deque[tuple[PostgresConnection, float]] = deque()
        self._begin_words = ""
        self.reset()
        weakref.finalize(self, _close_all, self._idle)
        _living.add(self)

    def reset(self) -> None:
        """Begin anew. In a forked child all connections and transactions are the parent's."""
        self._idle.clear()
        self._closed = object()
        self._open: weakref.WeakSet[OpenTransaction] = weakref.WeakSet()
        self.slots: Slots = Slots(self._count)
        self.threads: DaemonThreads = DaemonThreads(
            "aiocheckpoint-transaction",
            self._count,
            idle_seconds=_IDLE_THREAD_SECONDS,
            answers=self.patience.answers,
        )

    def note_open(self, transaction: OpenTransaction) -> None:
        """Note a transaction. If its loop is closed under the step, nobody else ends it."""
        self._open.add(transaction)

    def abandon_lost(self) -> None:
        """Roll back the transactions whose event loops were closed under their steps."""
        for transaction in list(self._open):
            if transaction.is_lost:
                transaction.abandon()

    def begin(self, check: Callable[[], None]) -> BegunTransaction:
        """Begin a transaction, blocking. It is tried as long as patience lasts.

        Args:
            check: Called behind each try that fails. It raises to end them.

        Raises:
            StoreUnreachableError: The database was out of reach for the whole time.
            StorageError: It refuses the connection.
            StalledError: The caller was cancelled meanwhile.
        """
        return self.patience.repeat(partial(self._begin_once, check))

    def _begin_once(self, check: Callable[[], None]) -> BegunTransaction:
        while (connection := self._pop()) is not None:
            with suppress(StoreUnreachableError):
                return self._begun(connection)
        try:
            return self._begun(self.connect())
        except StoreUnreachableError:
            check()
            raise

    def _begun(self, connection: PostgresConnection) -> BegunTransaction:
        try:
            if not self._begin_words:
                self._begin_words = _find_begin_words(connection.server)
            ((name,),) = execute(connection.server, f"{_NAME}; {self._begin_words}")
        except BaseException:
            connection.close()
            raise
        return BegunTransaction(connection, name)

    def connect(self) -> PostgresConnection:
        """Make a connection whose session has no settings of the library."""
        store = self._store
        server = connect(store.address, writes=True, seconds_to_answer=store.seconds_to_answer)
        try:
            connection = PostgresConnection(server, writes=False)
            server.link.prepare_threshold = None  # A reset of the session deletes the plans.
            if not server.is_pooled:
                execute(server, "DISCARD ALL")
        except BaseException:
            server.close()
            raise
        return connection

    def give_back(self, connection: PostgresConnection) -> None:
        """Take back a connection without a transaction, and its slot. The step does not wait."""
        item = WorkItem(self._take_back, (connection, self._closed), None)
        try:
            self.threads.put(item)
        except NoThreadError:
            if item.drop():
                self.discard(connection)

    def discard(self, connection: PostgresConnection) -> None:
        """Close a connection, and take back its slot."""
        connection.close()
        self.slots.give_back()

    def close(self) -> None:
        """Close all connections, now or when their transactions have ended."""
        self.abandon_lost()
        self._closed = object()  # Before the look, as `_take_back` does the reverse.
        _close_all(self._idle)

    def _take_back(self, connection: PostgresConnection, closed: object) -> None:
        """Make a connection as new, so that no setting, lock or temporary table is left of a step.

        Behind a pooler another session would be reset.
        """
        connection.server.link.seconds_to_answer = self._store.seconds_to_answer
        try:
            if not connection.server.is_pooled:
                execute(connection.server, "DISCARD ALL")
        except Exception:  # noqa: BLE001 - the next step gets another one
            connection.close()
        else:
            self._idle.append((connection, time.monotonic()))
            if self._closed is not closed:
                _close_all(self._idle)
            self._close_old()
        finally:
            self.slots.give_back()

    def _pop(self) -> PostgresConnection | None:
        """Take the connection that was used last, if it is open and can write."""
        while self._idle:
            try:
                connection, _ = self._idle.pop()
            except IndexError:
                break
            if not connection.is_lost() and not is_read_only(connection):
                return connection
            connection.close()
        return None

    def _close_old(self) -> None:
        before = time.monotonic() - _IDLE_SECONDS
        with suppress(IndexError):  # Another thread takes them too.
            while self._idle[0][1] < before:
                self._idle.popleft()[0].close()


def execute(server: ServerConnection, statements: str) -> list[tuple[str, ...]]:
    """Execute statements without values, which go to the server in one message.

    Returns:
        The rows of the last one that has any.

    Raises:
        StorageError: The server refuses them, or is out of reach.
    """
    try:
        return execute_raw(server, statements)
    except psycopg.Error as error:
        failure = translate_error(error, server.address, "writing")
    raise failure


def execute_raw(server: ServerConnection, statements: str) -> list[tuple[str, ...]]:
    """Do as `execute`, and raise psycopg's errors."""
    cursor = server.link.execute(statements.encode())
    rows: list[tuple[str, ...]] = []
    while True:
        rows = rows if cursor.description is None else cursor.fetchall()
        if not cursor.nextset():
            return rows


def _find_begin_words(server: ServerConnection) -> str:
    """Find out how a transaction begins on this server."""
    words = f"BEGIN; SET LOCAL {_CHECK_CLIENT}"
    try:
        server.link.execute(f"{words}; ROLLBACK".encode())
    except psycopg.errors.InvalidParameterValue:
        execute(server, "ROLLBACK")
        return "BEGIN"
    except psycopg.Error as error:
        failure = translate_error(error, server.address, "writing")
    else:
        return words
    raise failure


def is_read_only(connection: PostgresConnection) -> bool:
    """Whether the server itself takes no writes, as it has said last."""
    pgconn = connection.server.link.pgconn
    return any(pgconn.parameter_status(name) == b"on" for name in _READ_ONLY)


def _close_all(idle: deque[tuple[PostgresConnection, float]]) -> None:
    with suppress(IndexError):
        while True:
            idle.pop()[0].close()


_living: weakref.WeakSet[StepConnectionPool] = weakref.WeakSet()


def _reset_all() -> None:
    for pool in list(_living):
        pool.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
