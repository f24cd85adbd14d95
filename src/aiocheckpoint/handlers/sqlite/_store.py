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
from aiocheckpoint.handlers.sqlite._requests import Call
from aiocheckpoint.handlers.sqlite._schema import abandon_connection, connect, translate_error
from aiocheckpoint.handlers.sqlite._transactions import Transactions
from aiocheckpoint.handlers.sqlite._writer import Writer, await_ends

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator

__all__ = ["Store", "open_store"]


class _Reader:
    """A connection to read from, one thread at a time, and another one in a forked child."""

    def __init__(self, path: str, *, durable: bool) -> None:
        self._path = path
        self._durable = durable
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Give the connection for the time of a `with` block."""
        if self._pid != os.getpid():
            abandon_connection(self._connection)
            self._begin()
        with self._lock:
            if self._connection is None:
                self._connection = connect(self._path, durable=self._durable)
            yield self._connection

    def close(self) -> None:
        """Close it."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and self._pid == os.getpid():
                connection.close()


class Store:
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
        # At the end of the process `_close_all` does it, and waits for those begun by then.
        weakref.finalize(self, _close, self._reader, self._writer, wait=False).atexit = False

    @property
    def owner_id(self) -> str:
        """The owner's id, another one in a forked child."""
        return self._transactions.owners.id

    def ask(self, work: Any, loop: asyncio.AbstractEventLoop | None) -> PendingResult[Any]:  # noqa: ANN401
        """Have something done by the writer's thread, with all else that waits.

        Raises:
            RuntimeError: No thread can be started.
        """
        job: PendingResult[Any] = PendingResult(work, loop)
        self._writer.put(job)
        return job

    def call(self, function: Callable[[sqlite3.Connection], Any]) -> Any:  # noqa: ANN401
        """Do something in a transaction, and wait for it."""
        return self.ask(Call(function), None).wait()

    @contextlib.contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Give a connection to read from, for the time of a `with` block.

        Raises:
            StorageError: The database cannot be read.
            IncompatibleSnapshotError: It is of a later version.
        """
        try:
            with self._reader.reading() as connection:
                yield connection
        except sqlite3.Error as error:
            raise translate_error(error, self._path, "reading") from error

    def expire_dead(self) -> None:
        """Free the runs of every owner that is gone.

        Raises:
            StorageError: The database cannot be written.
        """
        self.call(self._transactions.owners.expire_dead)

    def close(self) -> None:
        """Give all leases back and close the database."""
        _close(self._reader, self._writer, wait=True)


def open_store(path: str, *, durable: bool, lease: float) -> Store:
    """Give the store of a file, the same to all who ask for the same."""
    key = path, durable, lease
    store = _stores.get(key)
    if store is None:
        store = _stores[key] = Store(path, durable=durable, lease=lease)
    return store


_stores: weakref.WeakValueDictionary[tuple[str, bool, float], Store] = weakref.WeakValueDictionary()


def _close(reader: _Reader, writer: Writer, *, wait: bool) -> None:
    reader.close()
    writer.stop(wait=wait)


@atexit.register
def _close_all() -> None:
    for store in list(_stores.values()):
        store.close()
    await_ends()
