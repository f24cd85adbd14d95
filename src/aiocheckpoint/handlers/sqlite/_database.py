"""One database file as this process uses it, shared by all handlers of that file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers.leased._client import StoreClient, clients, open_client
from aiocheckpoint.handlers.leased._writer import Writer
from aiocheckpoint.handlers.sqlite._connection import OpenDatabase
from aiocheckpoint.handlers.sqlite._errors import translate_error
from aiocheckpoint.handlers.sqlite._open_files import refuse_stale
from aiocheckpoint.handlers.sqlite._processor import SqliteProcessor

if TYPE_CHECKING:
    from collections.abc import Generator
    from queue import SimpleQueue

    from aiocheckpoint.handlers.sqlite._writing import SqliteStatements

__all__ = ["Database", "open_database"]


_SECONDS_FOR_READERS, _SECONDS_FOR_WRITER = 1.0, 10.0
"""The most that a fork waits for them. A transaction may wait for other programs for longer."""
_PAUSE_SECONDS = 0.001


class _Readers:
    """Connections for reading, each used by one thread at a time.

    There is no lock. A signal handler or a finalizer may read, close or write in the midst of a
    reading, and gets a connection of its own.
    """

    def __init__(self, path: str, *, durable: bool) -> None:
        self._path = path
        self._durable = durable
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._idle: list[OpenDatabase] = []
        self._used: dict[int, OpenDatabase] = {}
        self._closed = object()

    @contextlib.contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Give a connection for the time of a `with` block."""
        if self._pid != os.getpid():
            for opened in self._idle:
                opened.abandon()
            self._reset()
        closed = self._closed
        opened = self._take() or OpenDatabase(self._path, durable=self._durable)
        self._used[id(opened)] = opened
        try:
            yield opened.connection
        finally:
            self._used.pop(id(opened), None)
            self._idle.append(opened)
            if self._closed is not closed:
                self.close()

    def close(self) -> None:
        """Close all connections, now or when they are read no more."""
        self._closed = object()  # Before the look, as `reading` does the reverse.
        while (opened := self._pop()) is not None:
            if self._pid == os.getpid():
                opened.close()
            else:
                opened.abandon()

    def close_all(self, seconds: float) -> None:
        """Close all connections, and wait for at most so long for those that are read."""
        deadline = time.monotonic() + seconds
        self.close()
        while self._used and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)

    def close_if_gone(self) -> bool:
        """Close the idle connections if their files are gone, and return whether none is left."""
        opened = self._take()
        if opened is not None:
            self._idle.append(opened)
        return opened is None

    def _take(self) -> OpenDatabase | None:
        while (opened := self._pop()) is not None:
            if not opened.files.are_gone():
                return opened
            opened.close_untouched()
        return None

    def _pop(self) -> OpenDatabase | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None


class Database(StoreClient):
    """A database file.

    Args:
        path: Its absolute path, no symbolic link.
        durable: Whether each commit waits for the disk.
        lease: Length of a lease in seconds.
    """

    def __init__(self, path: str, *, durable: bool, lease: float) -> None:
        self._path = path
        self._readers = _Readers(path, durable=durable)
        processor = SqliteProcessor(
            path, durable=durable, lease=lease, before_opening=self._readers.close_if_gone
        )
        writer = Writer(processor)
        self._pause_writer = writer.pause
        super().__init__(path, processor, writer, self._readers.close)

    def _before_opening(self) -> None:
        self._let_others_look()

    @contextlib.contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Give a connection for reading, for the time of a `with` block.

        Raises:
            StorageError: The database cannot be read.
            IncompatibleSnapshotError: Its tables are of a later version.
        """
        if self._readers.close_if_gone():
            self._let_others_look()
        try:
            with self._readers.reading() as connection:
                yield connection
        except sqlite3.Error as error:
            raise translate_error(error, self._path, "reading") from error

    def _let_others_look(self) -> None:
        """Let all databases of this process leave files that are gone, before an opening."""
        try:
            refuse_stale(self._path)
        except StorageError:
            for client in {self, *clients()}:
                if isinstance(client, Database):
                    client.leave_if_gone()

    def leave_if_gone(self) -> None:
        """Close connections whose files are gone."""
        self._readers.close_if_gone()
        if self.owner_id:
            with contextlib.suppress(StorageError):
                self.call(_do_nothing)

    def prepare_fork(self) -> SimpleQueue[None] | None:
        """Close all connections, and let the writer thread do nothing until the fork is over.

        SQLite's facts about its locks are in memory, and a forked child would believe them
        (https://www.sqlite.org/howtocorrupt.html, section 2.6).

        Returns:
            A queue. An item in it lets the writer thread go on. None if it needs none.
        """
        self._readers.close_all(_SECONDS_FOR_READERS)
        return self._pause_writer(_SECONDS_FOR_WRITER)


def _do_nothing(_: SqliteStatements) -> None:
    pass


def open_database(path: str, *, durable: bool, lease: float) -> Database:
    """Give the database of a file, one for all handlers with the same path and options."""
    make = partial(Database, path, durable=durable, lease=lease)
    return open_client((Database, path, durable, lease), make)
