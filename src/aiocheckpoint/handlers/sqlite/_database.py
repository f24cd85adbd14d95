"""One database file as this process uses it, shared by all handlers of that file."""

from __future__ import annotations

import atexit
import contextlib
import os
import sqlite3
import threading
import weakref
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint.handlers.sqlite._connection import abandon_connection, connect
from aiocheckpoint.handlers.sqlite._errors import no_thread, translate_error
from aiocheckpoint.handlers.sqlite._requests import Execute
from aiocheckpoint.handlers.sqlite._transactions import Transactions
from aiocheckpoint.handlers.sqlite._writer import Writer, join_stopped

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator

__all__ = ["Database", "open_database"]


class _Reader:
    """A connection for reading, used by one thread at a time, and made anew in a forked child."""

    def __init__(self, path: str, *, durable: bool) -> None:
        self._path = path
        self._durable = durable
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Give the connection for the time of a `with` block."""
        if self._pid != os.getpid():
            abandon_connection(self._connection)
            self._reset()
        with self._lock:
            if self._connection is None:
                self._connection = connect(self._path, durable=self._durable)
            yield self._connection

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and self._pid == os.getpid():
                connection.close()


class Database:
    """A database file.

    Args:
        path: Its absolute path, no symbolic link.
        durable: Whether each commit waits for the disk.
        lease: Length of a lease in seconds.
    """

    def __init__(self, path: str, *, durable: bool, lease: float) -> None:
        self._path = path
        self._transactions = Transactions(path, durable=durable, lease=lease)
        self._writer = Writer(self._transactions)
        self._reader = _Reader(path, durable=durable)
        # At the end of the process `_close_all` closes the database, and waits for its thread.
        weakref.finalize(self, _close, self._reader, self._writer, wait=False).atexit = False

    @property
    def owner_id(self) -> str:
        """Id of this process among the owners. A forked child has another."""
        return self._transactions.owners.id

    def ask(
        self,
        request: Any,  # noqa: ANN401 - of any kind in `_requests`
        loop: asyncio.AbstractEventLoop | None,
    ) -> PendingResult[Any]:
        """Queue a request for the writer thread, which commits all queued requests together.

        Raises:
            StorageError: No thread can be started. The request will not be done.
        """
        pending: PendingResult[Any] = PendingResult(request, loop)
        try:
            self._writer.put(pending)
        except RuntimeError as error:
            raise no_thread(self._path, error) from error
        return pending

    def call(self, function: Callable[[sqlite3.Connection], Any]) -> Any:  # noqa: ANN401
        """Call a function in a transaction, and wait for its result."""
        return self.ask(Execute(function), None).wait()

    @contextlib.contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Give a connection for reading, for the time of a `with` block.

        Raises:
            StorageError: The database cannot be read.
            IncompatibleSnapshotError: Its tables are of a later version.
        """
        try:
            with self._reader.reading() as connection:
                yield connection
        except sqlite3.Error as error:
            raise translate_error(error, self._path, "reading") from error

    def expire_dead(self) -> None:
        """Free the runs of every dead owner.

        Raises:
            StorageError: The database cannot be written.
        """
        self.call(self._transactions.owners.expire_dead)

    def close(self) -> None:
        """Release all leases and close the database."""
        _close(self._reader, self._writer, wait=True)


def open_database(path: str, *, durable: bool, lease: float) -> Database:
    """Give the database of a file, one for all handlers with the same path and options."""
    key = path, durable, lease
    database = _databases.get(key)
    if database is None:
        database = _databases[key] = Database(path, durable=durable, lease=lease)
    return database


_databases: weakref.WeakValueDictionary[tuple[str, bool, float], Database] = (
    weakref.WeakValueDictionary()
)


def _close(reader: _Reader, writer: Writer, *, wait: bool) -> None:
    reader.close()
    writer.stop(wait=wait)


@atexit.register
def _close_all() -> None:
    for database in list(_databases.values()):
        database.close()
    join_stopped()
