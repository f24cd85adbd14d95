"""The work of the writer thread: all queued requests in one transaction, with one fsync."""

from __future__ import annotations

import copy
import logging
import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint._logging import NOWHERE, log
from aiocheckpoint.errors import CheckpointError, LeaseLostError, StorageError
from aiocheckpoint.handlers.sqlite._batches import Batch, into_batches
from aiocheckpoint.handlers.sqlite._claims import claim, claim_from_dead_owners, insert_new
from aiocheckpoint.handlers.sqlite._errors import is_read_only, translate_error
from aiocheckpoint.handlers.sqlite._history import prune, retain_current
from aiocheckpoint.handlers.sqlite._progress_table import write_progress
from aiocheckpoint.handlers.sqlite._requests import Claim, Execute, Release
from aiocheckpoint.handlers.sqlite._session import Session
from aiocheckpoint.handlers.sqlite._statements import (
    SAVE_STATUS,
    SAVE_STEP,
    SELECT_ENDINGS,
    SELECT_STORED,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiocheckpoint._concurrency.pending_results import PendingResult

__all__ = ["Transactions"]

# Errors that one request may cause with its values, or with their size.
_OF_ONE_REQUEST = (ValueError, OverflowError, TypeError, MemoryError)
_OF_ONE_STATEMENT = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.NotSupportedError,
    sqlite3.ProgrammingError,
)


class Transactions:
    """Carries out the requests of many runs in one transaction.

    Args:
        path: Absolute path of the database.
        durable: Whether each commit waits for the disk.
        lease: Length of a lease in seconds.
        before_opening: Called before the database is opened.

    Attributes:
        owner_id: Id of this process among the owners. Empty while the database is not open.
    """

    def __init__(
        self, path: str, *, durable: bool, lease: float, before_opening: Callable[[], object]
    ) -> None:
        self._path = path
        self._durable = durable
        self._lease = lease
        self._before_opening = before_opening
        self._session: Session | None = None
        self.owner_id: str = ""
        self._gone: dict[str, StorageError] = {}

    def apply(self, group: Sequence[PendingResult[Any]]) -> None:
        """Carry out requests, and set the result or the error of each."""
        self._call_or_fail(group, self._write)
        refused = [
            pending
            for pending in group
            if isinstance(pending.request, Claim)
            and pending.result is None
            and pending.error is None
        ]
        if refused:
            self._call_or_fail(refused, self._claim_from_dead_owners)
        if self._session is not None and self._session.released_early:
            self._session.pending_releases += self._session.released_early
            self._session.released_early.clear()
            self.on_idle()

    def idle_timeout(self) -> float | None:
        """Seconds until the next heartbeat or pending release is due, None for never."""
        session = self._session
        if session is None or not (session.held_tokens or session.pending_releases):
            return None
        return max(self._lease / 20, session.owners.seconds_to_heartbeat)

    def on_idle(self) -> None:
        """Send a heartbeat, and repeat the releases that failed."""
        self._call_or_fail([], self._write)

    def fail(self, group: Sequence[PendingResult[Any]], error: BaseException) -> None:
        """Set the error of requests that the thread could not carry out."""
        self._release_claims(group)
        self._fail(group, self._translated(error, "working on"))

    def _release_claims(self, group: Sequence[PendingResult[Any]]) -> None:
        """Release claims that failed. They may have been committed before."""
        for pending in group:
            if isinstance(pending.request, Claim) and self._session is not None:
                lease, token = pending.request.lease, pending.request.lease.asked
                if token:
                    self._session.pending_releases.append(Release.of(lease, token))
                lease.asked = 0

    @property
    def is_in_use(self) -> bool:
        """Whether this process holds the lease of a run."""
        return self._session is not None and bool(self._session.held_tokens)

    def close(self) -> None:
        """Release all leases and close the database."""
        self._take_session(Session.close)

    def disconnect(self) -> None:
        """Close the connection until the next request, and keep the leases."""
        if self._session is not None:
            self._session.disconnect()

    def reset_after_fork(self) -> None:
        """Start over in a forked child, as another owner."""
        self._take_session(Session.abandon)

    def expire_dead(self, connection: sqlite3.Connection) -> None:
        """Free the runs of every dead owner, in a transaction of an `Execute`."""
        if self._session is not None:
            self._session.owners.expire_dead(connection)

    def note_draining(self, connection: sqlite3.Connection) -> None:
        """Note that this owner has begun to drain, in a transaction of an `Execute`."""
        if self._session is not None:
            self._session.owners.note_draining(connection)

    def _call_or_fail(
        self,
        group: Sequence[PendingResult[Any]],
        work: Callable[[Session, Sequence[PendingResult[Any]]], None],
    ) -> None:
        """Call `work` for requests, and set the error of each where it fails.

        One request that SQLite cannot take would fail all others. They are done one by one then.
        """
        try:
            session = self._open()
            session.begin(len(group) + sum(map(_rows, group)))
            work(session, group)
        # A caller waits for every request, so that any error must end all of them.
        except BaseException as error:  # noqa: BLE001
            self._release_claims(group)
            self._leave_if_gone(error)
            if len(group) > 1 and isinstance(error, (*_OF_ONE_REQUEST, *_OF_ONE_STATEMENT)):
                for pending in group:
                    pending.result = pending.error = None
                    self._call_or_fail([pending], work)
            else:
                self._fail(group, self._translated(error, "writing"))
            if isinstance(error, sqlite3.Error) and is_read_only(error):
                # It would stay read-only when the file, or one beside it, is made writable.
                self._take_session(Session.close)

    def _leave_if_gone(self, error: BaseException) -> None:
        """Close a session whose files are gone, and keep the reason for the runs that it had."""
        session = self._session
        if session is not None and session.is_gone:
            session.is_gone = isinstance(error, StorageError)  # Else the check itself broke off.
            if isinstance(error, StorageError):
                # A copy has no traceback, which would keep the frames.
                self._gone[session.owners.id] = copy.copy(error)
                self._take_session(Session.close_untouched)

    def reason_lost(self, owner_id: str) -> StorageError | None:
        """The error that ended the session of an owner, if its files were gone."""
        return self._gone.get(owner_id)

    def _translated(self, error: BaseException, doing: str) -> CheckpointError:
        if isinstance(error, CheckpointError):
            return error
        if isinstance(error, sqlite3.Error) and not isinstance(error, _OF_ONE_STATEMENT):
            translated = translate_error(error, self._path, doing)
        else:
            translated = StorageError(
                self._path,
                f"{doing} {self._path} failed: {type(error).__name__}: {error}. Run "
                "again to resume from the stored state.",
            )
        translated.__cause__ = error
        return translated

    def _fail(self, group: Sequence[PendingResult[Any]], error: CheckpointError) -> None:
        if not group:
            words = "The leases of runs could not be renewed, and may be lost: %s"
            log(logging.WARNING, NOWHERE, words, error)
        for pending in group:
            if isinstance(pending.request, Release):
                if self._session is not None:
                    self._session.pending_releases.append(pending.request)
            else:
                # A copy for each caller, because tracebacks and notes are added to it.
                pending.error = copy.copy(error)
                pending.error.__cause__ = error.__cause__

    def _open(self) -> Session:
        if self._session is None:
            self._before_opening()
            self._session = Session(self._path, durable=self._durable, lease=self._lease)
            self.owner_id = self._session.owners.id
        return self._session

    def _take_session(self, end: Callable[[Session], None]) -> None:
        self.owner_id = ""
        session, self._session = self._session, None
        if session is not None:
            end(session)

    def _write(self, session: Session, group: Sequence[PendingResult[Any]]) -> None:
        """Carry out requests in one transaction, or in one statement, which is its own."""
        batches = list(into_batches(group))
        releases = session.pending_releases[:]
        alone = len(batches) == 1 and not releases and session.owners.seconds_to_heartbeat > 0
        if alone and batches[0].is_one_statement:
            _do(session, batches[0])
        elif not (alone and batches[0].is_new and insert_new(session, batches[0].claims)):
            session.in_transaction(partial(_do_all, session, releases, batches))
        session.check_commit()
        if releases:
            session.note_released(releases)
        for batch in batches:
            _update_leases(session, batch)

    def _claim_from_dead_owners(
        self, session: Session, group: Sequence[PendingResult[Any]]
    ) -> None:
        """Claim the runs of dead owners, and name the living owner of each other run."""
        session.in_transaction(partial(claim_from_dead_owners, session, group))
        session.check_commit()
        _update_leases(session, Batch(claims=list(group)))


def _do_all(session: Session, releases: Sequence[Release], batches: Sequence[Batch]) -> None:
    for release in releases:
        _release(session.connection, release)
    for batch in batches:
        _do(session, batch)


def _do(session: Session, batch: Batch) -> None:
    if batch.other is not None:
        _do_other(session.connection, batch.other)
    if batch.claims:
        claim(session, batch.claims)
    if batch.steps or batch.status_changes:
        _save(session, batch)


def _rows(pending: PendingResult[Any]) -> int:
    return pending.request.rows if isinstance(pending.request, Execute) else 0


def _do_other(connection: sqlite3.Connection, pending: PendingResult[Any]) -> None:
    if isinstance(pending.request, Release):
        _release(connection, pending.request)
        return
    if _rows(pending):
        pending.result = pending.request.function(connection)
        return
    connection.execute("SAVEPOINT one")
    try:
        pending.result = pending.request.function(connection)
    except CheckpointError as error:
        pending.error = error
        connection.execute("ROLLBACK TO one")
    connection.execute("RELEASE one")


def _release(connection: sqlite3.Connection, release: Release) -> None:
    where, key = "WHERE flow = ? AND run_id = ? AND token = ?", release[:3]
    connection.execute(f"DELETE FROM runs {where} AND status IS NULL", key)  # noqa: S608
    if release.before is not None:
        connection.execute(f"UPDATE runs SET status = ?, start = ? {where}", release.before + key)  # noqa: S608
    connection.execute(f"UPDATE runs SET owner = NULL, token = 0 {where}", key)  # noqa: S608


def _save(session: Session, batch: Batch) -> None:
    connection = session.connection
    for pending in batch.with_progress:  # Before a snapshot that releases the lease.
        write_progress(pending.request.lease, pending.request.progress, connection)
    if batch.retaining:
        retain_current(connection, [pending.request for pending in batch.retaining])
    done = 0
    if batch.steps:
        rows = [pending.request.step_values() for pending in batch.steps]
        done += sum(cursor.rowcount for cursor in SAVE_STEP.execute(connection, rows))
    if batch.status_changes:
        owner = session.owners.id
        rows = [pending.request.status_values(owner) for pending in batch.status_changes]
        done += sum(cursor.rowcount for cursor in SAVE_STATUS.execute(connection, rows))
    if done != len(batch.steps) + len(batch.status_changes):
        _fail_lost_leases(connection, [*batch.steps, *batch.status_changes])
    if batch.status_changes:
        _note_endings(connection, batch.status_changes)
    if batch.retaining:  # Only the owner of a run may delete its older snapshots.
        prune(connection, [pending.request for pending in batch.retaining if pending.error is None])


def _note_endings(connection: sqlite3.Connection, group: Sequence[PendingResult[Any]]) -> None:
    """Note the runs that have ended in another way, though their end for good was asked for."""
    ended = [pending.request for pending in group if pending.request.may_leave_ending]
    rows = [(request.lease.row, number) for number, request in enumerate(ended)]
    for cursor in SELECT_ENDINGS.execute(connection, rows):
        for number in filter(None, (cursor.fetchone()[0] or "").split(",")):
            ended[int(number)].lease.ending = True


def _fail_lost_leases(connection: sqlite3.Connection, group: Sequence[PendingResult[Any]]) -> None:
    """Set `LeaseLostError` for the requests whose snapshot was not stored."""
    stored: set[int] = set()
    rows = [
        (pending.request.lease.row, pending.request.footer, number)
        for number, pending in enumerate(group)
    ]
    for cursor in SELECT_STORED.execute(connection, rows):
        stored.update(map(int, filter(None, (cursor.fetchone()[0] or "").split(","))))
    for number, pending in enumerate(group):
        if number not in stored:
            pending.error = LeaseLostError(pending.request.lease.location)


def _update_leases(session: Session, batch: Batch) -> None:
    """Update the leases after a commit."""
    for pending in batch.claims:
        if pending.result is not None:
            lease = pending.request.lease
            lease.set_claimed(pending.result)
            session.held_tokens.add(lease.token)
            if lease.released:
                session.released_early.append(Release.of(lease, lease.token))
    for pending in batch.status_changes:  # A step changes nothing of its lease.
        if pending.error is None:
            if pending.request.ends_run:
                session.held_tokens.discard(pending.request.lease.token)
            pending.request.lease.set_saved(pending.request.header)
    if batch.other is not None and isinstance(batch.other.request, Release):
        session.held_tokens.discard(batch.other.request.token)
