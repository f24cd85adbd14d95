"""One database file as this process uses it, shared by all handlers of that file."""

from __future__ import annotations

import atexit
import contextlib
import os
import sqlite3
import time
import weakref
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers.sqlite._connection import OpenDatabase
from aiocheckpoint.handlers.sqlite._errors import no_thread, translate_error
from aiocheckpoint.handlers.sqlite._open_files import refuse_stale
from aiocheckpoint.handlers.sqlite._requests import Execute, Release
from aiocheckpoint.handlers.sqlite._transactions import Transactions
from aiocheckpoint.handlers.sqlite._writer import Writer, is_writer, join_stopped

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator
    from queue import SimpleQueue

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


class Database:
    """A database file.

    Args:
        path: Its absolute path, no symbolic link.
        durable: Whether each commit waits for the disk.
        lease: Length of a lease in seconds.
    """

    def __init__(self, path: str, *, durable: bool, lease: float) -> None:
        self._path = path
        self._readers = _Readers(path, durable=durable)
        self._transactions = Transactions(
            path, durable=durable, lease=lease, before_opening=self._readers.close_if_gone
        )
        self._writer = Writer(self._transactions)
        # At the end of the process `_close_all` closes the database, and waits for its thread.
        weakref.finalize(self, _close, self._readers, self._writer, wait=False).atexit = False

    @property
    def owner_id(self) -> str:
        """Id of this process among the owners. Another one for each opening, and in a child."""
        return self._transactions.owner_id

    def reason_lost(self, owner_id: str) -> StorageError | None:
        """The error with which an earlier opening of the file ended, if the file was gone."""
        return self._transactions.reason_lost(owner_id)

    def ask(
        self,
        request: Any,  # noqa: ANN401 - of any kind in `_requests`
        loop: asyncio.AbstractEventLoop | None,
    ) -> PendingResult[Any]:
        """Queue a request for the writer thread, which commits all queued requests together.

        Raises:
            StorageError: A finalizer calls this in a writer thread, which cannot wait for itself.
                Or no thread can be started. The request will not be done.
        """
        if is_writer() and not isinstance(request, Release):
            raise StorageError(
                self._path,
                f"{self._path} was used by a finalizer that the garbage collector called in the "
                "thread that writes it. That thread cannot wait for itself. Let the finalizer "
                "hand the work to another thread.",
            )
        if not self._transactions.owner_id:  # Not by `owner_id`: one call less for each request.
            self._let_others_look()
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
            for database in {self, *_databases.values()}:
                database.leave_if_gone()

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
        return self._writer.pause(_SECONDS_FOR_WRITER)

    def expire_dead(self) -> None:
        """Free the runs of every dead owner.

        Raises:
            StorageError: The database cannot be written.
        """
        self.call(self._transactions.expire_dead)

    def note_draining(self) -> None:
        """Note that this process has begun to drain. Without effect where it owns nothing.

        Raises:
            StorageError: The database cannot be written.
        """
        if self.owner_id:
            self.call(self._transactions.note_draining)

    def close(self, *, if_unused: bool = False) -> None:
        """Release all leases and close the database.

        Args:
            if_unused: Whether it stays open while a lease is held.
        """
        _close(self._readers, self._writer, wait=True, if_unused=if_unused)


def _do_nothing(_: sqlite3.Connection) -> None:
    pass


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


def _close(readers: _Readers, writer: Writer, *, wait: bool, if_unused: bool = False) -> None:
    readers.close()
    writer.stop(wait=wait, if_unused=if_unused)


@atexit.register
def _close_all() -> None:
    for database in list(_databases.values()):
        database.close()
    join_stopped()


_paused: list[SimpleQueue[None]] = []


def _prepare_fork() -> None:
    for database in list(_databases.values()):
        resume = database.prepare_fork()
        if resume is not None:
            _paused.append(resume)


def _resume() -> None:
    while _paused:
        _paused.pop().put(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_prepare_fork, after_in_parent=_resume, after_in_child=_paused.clear)
