"""The processor of a database: one statement without a transaction, and what happens to files."""

from __future__ import annotations

import copy
import sqlite3
from typing import TYPE_CHECKING, Any

from aiocheckpoint.errors import CheckpointError, StorageError
from aiocheckpoint.handlers.leased._claims import ask, set_claimed
from aiocheckpoint.handlers.leased._processor import LeasedProcessor
from aiocheckpoint.handlers.leased._requests import Release
from aiocheckpoint.handlers.sqlite._claiming import claimed_rows, insert_new
from aiocheckpoint.handlers.sqlite._errors import is_read_only, translate_error
from aiocheckpoint.handlers.sqlite._session import SqliteSession

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint.handlers.leased._batches import Batch

__all__ = ["SqliteProcessor"]

# Errors that one request may cause with its values, or with their size.
_OF_ONE_REQUEST = (ValueError, OverflowError, TypeError, MemoryError)
_OF_ONE_STATEMENT = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.NotSupportedError,
    sqlite3.ProgrammingError,
)


class SqliteProcessor(LeasedProcessor[SqliteSession]):
    """Carries out the requests to one database.

    Args:
        path: Absolute path of the database.
        durable: Whether each commit waits for the disk.
        lease: Length of a lease in seconds.
        before_opening: Called before the database is opened.
    """

    def __init__(
        self, path: str, *, durable: bool, lease: float, before_opening: Callable[[], object]
    ) -> None:
        def open_session() -> SqliteSession:
            before_opening()
            return SqliteSession(path, durable=durable, lease=lease)

        super().__init__(path, lease, open_session)
        self._gone: dict[str, StorageError] = {}

    def reason_lost(self, owner_id: str) -> StorageError | None:
        """The error that ended the session of an owner, if its files were gone."""
        return self._gone.get(owner_id)

    def _is_of_one(self, error: BaseException) -> bool:
        return isinstance(error, (*_OF_ONE_REQUEST, *_OF_ONE_STATEMENT))

    def _note_failure(self, error: BaseException) -> None:
        self._leave_if_gone(error)
        if isinstance(error, sqlite3.Error) and is_read_only(error):
            # It would stay read-only when the file, or one beside it, is made writable.
            self._take_session(SqliteSession.close)

    def _leave_if_gone(self, error: BaseException) -> None:
        """Close a session whose files are gone, and keep the reason for the runs that it had."""
        session = self._session
        if session is not None and session.is_gone:
            session.is_gone = isinstance(error, StorageError)  # Else the check itself broke off.
            if isinstance(error, StorageError):
                # A copy has no traceback, which would keep the frames.
                self._gone[session.owner_id] = copy.copy(error)
                self._take_session(SqliteSession.close_untouched)

    def _translated(self, error: BaseException, doing: str) -> CheckpointError:
        if isinstance(error, sqlite3.Error) and not isinstance(error, _OF_ONE_STATEMENT):
            translated = translate_error(error, self._location, doing)
            translated.__cause__ = error
            return translated
        return super()._translated(error, doing)

    def _writes_alone(self, session: SqliteSession, batch: Batch) -> bool:
        if batch.is_one_statement:
            self._do(session, batch)
            return True
        return batch.is_new and self._insert_new(session, batch.claims)

    def _insert_new(self, session: SqliteSession, group: Sequence[PendingResult[Any]]) -> bool:
        """Claim runs if none of them has a row. Else do nothing."""
        ask(session, group)
        claims = [pending.request for pending in group]
        now = self._clock.time()
        results = insert_new(session.connection, claims, session.owner_id, now)
        if results is None:
            return False
        for pending, result in zip(group, results, strict=False):
            pending.result = result
        if not results:
            set_claimed(session, group, claimed_rows(session.connection, claims), now)
        return True

    def _do_other(self, session: SqliteSession, pending: PendingResult[Any]) -> None:
        request, connection = pending.request, session.connection
        if isinstance(request, Release) or request.rows:
            super()._do_other(session, pending)
            return
        connection.execute("SAVEPOINT one")
        try:
            super()._do_other(session, pending)
        except CheckpointError as error:
            pending.error = error
            connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
