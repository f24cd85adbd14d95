"""One opened database file: everything that this process knows of it ends with it."""

from __future__ import annotations

import contextlib
import math
import sqlite3
import time
from typing import TYPE_CHECKING

from aiocheckpoint.errors import CheckpointError
from aiocheckpoint.handlers.leased._session import Session
from aiocheckpoint.handlers.sqlite._connection import OpenDatabase
from aiocheckpoint.handlers.sqlite._errors import retry_while_busy
from aiocheckpoint.handlers.sqlite._open_files import WalLength, moved
from aiocheckpoint.handlers.sqlite._owners import Owners
from aiocheckpoint.handlers.sqlite._writing import SqliteStatements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiocheckpoint.handlers.sqlite._liveness import Owner

__all__ = ["SqliteSession"]

_MANY_REQUESTS = 64
_SECONDS_BETWEEN_CHECKS = 0.1
_MILLISECONDS_FOR_READERS = 500
"""How long a close waits for readers of other processes, to empty the "-wal" as well."""


class SqliteSession(Session):
    """A database file from its opening to its closing, in one process. Used by one thread.

    The next session of the same path is another owner. So nothing that was known of a file is
    taken for a fact about another file at its path.

    Args:
        path: Absolute path of the database.
        durable: Whether each commit waits for the disk.
        lease: Length of a lease in seconds.

    Attributes:
        is_gone: Whether a check has found that the path belongs to other files by now.
        owners: This process among the owners.
    """

    def __init__(self, path: str, *, durable: bool, lease: float) -> None:
        super().__init__()
        self._path = path
        self._durable = durable
        self.is_gone: bool = False
        self._connect()
        self._identity = self._opened.files.identity
        self._began = math.inf
        self._is_checking = True
        self._next_check = -math.inf
        self.owners = Owners(path, lease)

    @property
    def owner_id(self) -> str:
        return self.owners.id

    @property
    def statements(self) -> SqliteStatements:
        return self._statements

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection."""
        return self._statements.raw

    @property
    def seconds_to_heartbeat(self) -> float:
        return self.owners.seconds_to_heartbeat

    def _connect(self) -> None:
        self._opened = OpenDatabase(self._path, durable=self._durable, writable=True)
        self._statements = SqliteStatements(self._opened.connection)
        try:
            self._wal = WalLength(self._path)
        except BaseException:
            self._opened.close_untouched()
            raise
        self._is_connected = True

    def disconnect(self) -> None:
        if self._is_connected:
            self.roll_back()
            self._is_connected = False
            self._wal.close()
            self._opened.close()

    def _reconnect(self) -> None:
        self._connect()
        self.is_gone = self._opened.files.identity != self._identity
        if self.is_gone:
            raise moved(self._path)

    def in_transaction(self, work: Callable[[], None]) -> None:
        connection = self.connection
        retry_while_busy(lambda: connection.execute("BEGIN IMMEDIATE"))
        try:
            self.owners.heartbeat(connection)
            work()
            connection.execute("COMMIT")
        except BaseException:
            self.roll_back()
            raise
        self.owners.committed()

    def roll_back(self) -> None:
        """Roll the transaction back, if there is one."""
        if self.connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")

    def living(self, owner_ids: Iterable[str]) -> dict[str, Owner | None]:
        return {one: self.owners.expire_if_dead(self.connection, one) for one in owner_ids}

    def expire_dead(self) -> None:
        self.owners.expire_dead(self.connection)

    def note_draining(self) -> None:
        self.owners.note_draining(self.connection)

    def begin(self, count: int) -> None:
        """Begin the work on some requests: connect if need be, and check that the "-wal" is whole.

        With many requests the loop is busy, and after a system call this thread waits up to 5 ms
        for the interpreter's lock. Deleting the files loses their snapshots in any case. Checking
        only every 0.1 s can lose the snapshots of 0.1 s more.

        Args:
            count: The number of requests and of the rows that they insert.

        Raises:
            StorageError: A file was deleted, moved, replaced or cut. The session `is_gone` then.
        """
        if not self._is_connected:
            self._reconnect()
        if self.connection.in_transaction:  # The thread before may have ended in its midst.
            self.roll_back()
        now = self._began = time.monotonic()
        self._is_checking = count < _MANY_REQUESTS or now >= self._next_check
        if self._is_checking:
            self.is_gone = True
            if now >= self._next_check:  # Nothing is written into files that are long gone.
                self._opened.files.check()
            self._wal.check(self.connection)
            self.is_gone = False
            self._next_check = now + _SECONDS_BETWEEN_CHECKS

    def check_commit(self) -> None:
        """Check after a commit, before it is acknowledged, that its files are still at the path.

        Raises:
            StorageError: A file was deleted, moved or replaced. The commit may be lost. The session
                `is_gone` then.
        """
        if self._is_checking:
            self.is_gone = True
            self._opened.files.check()
            if time.monotonic() > self._began + _SECONDS_BETWEEN_CHECKS:
                self._wal.check_frames(self.connection)  # It may have been cut during the wait.
            self._wal.note()
            self.is_gone = False

    def abandon(self) -> None:
        if self._is_connected:
            self._opened.abandon()

    def close_untouched(self) -> None:
        """Close the connection without touching a file: the path belongs to other files by now."""
        if self._is_connected:
            self._is_connected = False
            self._wal.close()
            self._opened.close_untouched()
        self.owners.release()

    def close(self) -> None:
        with contextlib.suppress(CheckpointError):
            if not self._is_connected:
                self._reconnect()
        if not self._is_connected or self._opened.files.are_gone():
            self.close_untouched()
            return
        with contextlib.suppress(sqlite3.Error):
            self.roll_back()
            self.connection.execute("BEGIN IMMEDIATE")
            self.owners.unregister(self.connection)
            self.connection.execute("COMMIT")
            # SQLite does so for the last connection alone. Of processes that end together none may
            # take itself for the last.
            self.connection.execute(f"PRAGMA busy_timeout = {_MILLISECONDS_FOR_READERS}")
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._is_connected = False
        self._wal.close()
        # First the lock: of two that close at once, the later one finds no owner.
        self.owners.release()
        self._opened.close()
