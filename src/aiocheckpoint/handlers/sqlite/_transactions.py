"""The work of the writer thread: all queued requests in one transaction, with one fsync."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import os
import secrets
import socket
import sqlite3
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._logging import logger
from aiocheckpoint.errors import (
    CheckpointError,
    LeaseLostError,
    RunInProgressError,
    StorageError,
)
from aiocheckpoint.handlers.sqlite._batches import Batch, into_batches
from aiocheckpoint.handlers.sqlite._connection import abandon_connection, connect, file_identity
from aiocheckpoint.handlers.sqlite._errors import (
    is_read_only,
    retry_while_busy,
    translate_error,
)
from aiocheckpoint.handlers.sqlite._history import prune, retain_current
from aiocheckpoint.handlers.sqlite._owners import Owner, Owners
from aiocheckpoint.handlers.sqlite._requests import Claim, Release
from aiocheckpoint.handlers.sqlite._statements import (
    CLAIM,
    GIVEN_FOOTER,
    INSERT_NEW,
    SAVE_STATUS,
    SAVE_STEP,
    SELECT_CLAIMED,
    SELECT_STORED,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from aiocheckpoint._concurrency.pending_results import PendingResult

__all__ = ["Transactions"]

_MANY_REQUESTS = 64
_SECONDS_BETWEEN_CHECKS = 0.1
_LAST_IN_ORDER = 1 << 40
"""More rows than any database has. A higher id means that the id 2^63 - 1 is in use, after which
SQLite picks ids at random."""
_Claimed = tuple[int, int, int, str, float, int, str]


class Transactions:
    """Carries out the requests of many runs in one transaction.

    Args:
        path: Absolute path of the database.
        durable: Whether each commit waits for the disk.
        lease: Length of a lease in seconds.

    Attributes:
        owners: This process among the owners.
    """

    def __init__(self, path: str, *, durable: bool, lease: float) -> None:
        self._path = path
        self._durable = durable
        self._shortest_pause = lease / 20
        self.owners = Owners(path, lease)
        self._reset()

    def _reset(self) -> None:
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._checked_at = -math.inf
        self._tokens = itertools.count(secrets.randbits(61) + 1)
        self._held: set[int] = set()
        self._pending_releases: list[Release] = []
        self._released_early: list[Release] = []

    def apply(self, group: Sequence[PendingResult[Any]]) -> None:
        """Carry out requests, and set the result or the error of each."""
        batches = list(into_batches(group))
        self._call_or_fail(group, partial(self._write, batches=batches))
        refused = [
            pending
            for pending in group
            if isinstance(pending.request, Claim)
            and pending.result is None
            and pending.error is None
        ]
        if refused:
            self._call_or_fail(refused, partial(self._claim_from_dead_owners, group=refused))
        if self._released_early:
            self._pending_releases += self._released_early
            self._released_early.clear()
            self.on_idle()

    def idle_timeout(self) -> float | None:
        """Seconds until the next heartbeat or pending release is due, None for never."""
        if not self._held and not self._pending_releases:
            return None
        return max(self._shortest_pause, self.owners.seconds_to_heartbeat)

    def on_idle(self) -> None:
        """Send a heartbeat, and repeat the releases that failed."""
        self.apply([])

    def close(self) -> None:
        """Release all leases and close the database."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.suppress(sqlite3.Error):
            connection.execute("BEGIN IMMEDIATE")
            self.owners.unregister(connection)
            connection.execute("COMMIT")
        with contextlib.suppress(sqlite3.Error):
            connection.close()
        self.owners.release()

    def reset_after_fork(self) -> None:
        """Start over in a forked child, as another owner."""
        abandon_connection(self._connection)
        self.owners.reset_after_fork()
        self._reset()

    def _call_or_fail(
        self, group: Sequence[PendingResult[Any]], work: Callable[[sqlite3.Connection], None]
    ) -> None:
        """Call `work` on the connection, and set the error of each request where it fails."""
        try:
            work(self._open(len(group)))
        except sqlite3.Error as error:
            self._fail(group, translate_error(error, self._path, "writing"))
            if is_read_only(error) and self._connection is not None:
                # It would stay read-only when the file, or one beside it, is made writable.
                self._connection.close()
                self._connection = None
        # A caller waits for every request, so that any error must end all of them.
        except BaseException as error:  # noqa: BLE001
            self._fail(group, error)

    def _fail(self, group: Sequence[PendingResult[Any]], error: BaseException) -> None:
        if not group:
            logger.warning("The leases of runs could not be renewed, and may be lost: %s", error)
        for pending in group:
            if isinstance(pending.request, Release):
                self._pending_releases.append(pending.request)
            else:
                # A copy for each caller, because tracebacks and notes are added to it.
                pending.error = copy.copy(error) if isinstance(error, CheckpointError) else error

    def _open(self, count: int) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path, durable=self._durable, writable=True)
            self._file = file_identity(self._path)
        elif self._is_check_due(count) and file_identity(self._path) != self._file:
            # SQLite would keep writing to a file that no other process can open.
            self._connection.close()
            self._connection = None
            raise StorageError(
                self._path,
                f"{self._path} was deleted, moved or replaced while it was in use. Runs in "
                "progress can store nothing more. Put it back, or run again to start in the new "
                "file.",
            )
        return self._connection

    def _is_check_due(self, count: int) -> bool:
        """Whether to check that the file is still at its path, before so many requests.

        With many requests the loop is busy, and after a system call this thread waits up to 5 ms
        for the interpreter's lock. Deleting the file loses its snapshots in any case. Checking only
        every 0.1 s can lose the snapshots of 0.1 s more.
        """
        now = time.monotonic()
        if count >= _MANY_REQUESTS and now < self._checked_at + _SECONDS_BETWEEN_CHECKS:
            return False
        self._checked_at = now
        return True

    def _write(self, connection: sqlite3.Connection, batches: Sequence[Batch]) -> None:
        """Carry out all batches in one transaction, or in one statement, which is its own."""
        alone = (
            len(batches) == 1
            and not self._pending_releases
            and self.owners.seconds_to_heartbeat > 0
        )
        if alone and batches[0].is_one_statement:
            self._do(connection, batches[0])
        elif not (alone and batches[0].is_new and self._insert_new(connection, batches[0].claims)):
            self._in_transaction(connection, partial(self._do_all, batches=batches))
        for batch in batches:
            self._update_leases(batch)

    def _in_transaction(
        self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], None]
    ) -> None:
        retry_while_busy(lambda: connection.execute("BEGIN IMMEDIATE"))
        try:
            self.owners.heartbeat(connection)
            work(connection)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            self.owners.rolled_back()
            raise
        self.owners.committed()

    def _do_all(self, connection: sqlite3.Connection, batches: Sequence[Batch]) -> None:
        releases = self._pending_releases[:]
        for release in releases:
            self._release(connection, release)
        for batch in batches:
            self._do(connection, batch)
        del self._pending_releases[: len(releases)]

    def _do(self, connection: sqlite3.Connection, batch: Batch) -> None:
        if batch.other is not None:
            self._do_other(connection, batch.other)
        if batch.claims:
            self._claim(connection, batch.claims)
        if batch.steps or batch.status_changes:
            self._save(connection, batch)

    def _do_other(self, connection: sqlite3.Connection, pending: PendingResult[Any]) -> None:
        if isinstance(pending.request, Release):
            self._release(connection, pending.request)
            return
        connection.execute("SAVEPOINT one")
        try:
            pending.result = pending.request.function(connection)
        except CheckpointError as error:
            pending.error = error
            connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")

    def _release(self, connection: sqlite3.Connection, release: Release) -> None:
        self._held.discard(release.token)
        connection.execute(
            "DELETE FROM runs WHERE id = ? AND token = ? AND status IS NULL", release
        )
        connection.execute(
            "UPDATE runs SET owner = NULL, token = 0 WHERE id = ? AND token = ?", release
        )

    def _save(self, connection: sqlite3.Connection, batch: Batch) -> None:
        retain_current(connection, [pending.request for pending in batch.retaining])
        steps = [pending.request.step_values() for pending in batch.steps]
        changes = [
            pending.request.status_values(self.owners.id) for pending in batch.status_changes
        ]
        done = sum(cursor.rowcount for cursor in SAVE_STEP.execute(connection, steps))
        done += sum(cursor.rowcount for cursor in SAVE_STATUS.execute(connection, changes))
        if done != len(steps) + len(changes):
            _fail_lost_leases(connection, [*batch.steps, *batch.status_changes])
        # Only the owner of a run may delete its older snapshots.
        prune(connection, [pending.request for pending in batch.retaining if pending.error is None])

    def _rows(self, group: list[PendingResult[Any]]) -> list[tuple[Any, ...]]:
        now, owner_id, tokens = time.time(), self.owners.id, self._tokens
        return [pending.request.row(owner_id, next(tokens), now) for pending in group]

    def _insert_new(self, connection: sqlite3.Connection, group: list[PendingResult[Any]]) -> bool:
        """Claim runs and set the results, if none of them has a row, else do nothing."""
        rows = self._rows(group)
        try:
            (cursor,) = INSERT_NEW.execute(connection, rows)
        except sqlite3.IntegrityError:
            return False
        last = cast("int", cursor.lastrowid)
        if last > _LAST_IN_ORDER:
            self._set_claimed(connection, group, rows)
            return True
        first = last - len(group) + 1
        for row, (pending, values) in enumerate(zip(group, rows, strict=True), first):
            pending.result = row, values[3], len(pending.request.start.payload), GIVEN_FOOTER
        return True

    def _claim(self, connection: sqlite3.Connection, group: list[PendingResult[Any]]) -> None:
        """Claim the free runs, and set the results of their requests."""
        rows = self._rows(group)
        for _ in CLAIM.execute(connection, rows):
            pass
        self._set_claimed(connection, group, rows)

    def _set_claimed(
        self,
        connection: sqlite3.Connection,
        group: list[PendingResult[Any]],
        rows: list[tuple[Any, ...]],
    ) -> None:
        for number, token, row, _, _, length, footer in _claimed(connection, group):
            if token == rows[number][3]:
                group[number].result = row, token, length, footer

    def _claim_from_dead_owners(
        self, connection: sqlite3.Connection, group: list[PendingResult[Any]]
    ) -> None:
        """Claim the runs of dead owners, and name the living owner of each other run."""
        self._in_transaction(connection, partial(self._expire_and_claim, group=group))
        self._update_leases(Batch(claims=group))

    def _expire_and_claim(
        self, connection: sqlite3.Connection, group: list[PendingResult[Any]]
    ) -> None:
        found: dict[str, Owner | None] = {}
        for owner_id in {owner for *_, owner, _, _, _ in _claimed(connection, group) if owner}:
            found[owner_id] = self.owners.expire_if_dead(connection, owner_id)
        self._claim(connection, group)
        for number, _, _, owner_id, since, _, _ in _claimed(connection, group):
            pending = group[number]
            if pending.result is None:
                pending.error = _in_progress(pending.request, found.get(owner_id), since)

    def _update_leases(self, batch: Batch) -> None:
        """Update the leases after a commit."""
        for pending in batch.claims:
            if pending.result is not None:
                lease, (row, token, *_) = pending.request.lease, pending.result
                lease.set_claimed(*pending.result)
                self._held.add(token)
                if lease.released:
                    self._released_early.append(Release(row, token))
        for pending in batch.status_changes:  # A step changes nothing of its lease.
            if pending.error is None:
                if pending.request.ends_run:
                    self._held.discard(pending.request.lease.token)
                pending.request.lease.set_saved(pending.request.header)


def _claimed(
    connection: sqlite3.Connection, group: Sequence[PendingResult[Any]]
) -> Iterator[_Claimed]:
    """Look up the rows of the runs that requests claim.

    All rows arrive in one text of words. Each row of a result would be a step, at which the
    interpreter's lock is given up, see `_statements`.
    """
    rows = [
        (*pending.request.key, number, pending.request.footer)
        for number, pending in enumerate(group)
    ]
    for cursor in SELECT_CLAIMED.execute(connection, rows):
        # The row of a refused run may have been deleted since.
        for line in filter(None, (cursor.fetchone()[0] or "").split(",")):
            number, token, row, owner, since, length, footer = line.split(" ")
            yield int(number), int(token), int(row), owner, float(since), int(length), footer


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


def _in_progress(claim: Claim, owner: Owner | None, since: float) -> RunInProgressError:
    if owner is None:  # Another run of this process was faster in the same transaction.
        pid, host = os.getpid(), socket.gethostname()
    else:
        pid, host = owner.pid, owner.host
    taken = None
    with contextlib.suppress(ValueError, OverflowError, OSError):  # a time that no calendar has
        taken = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")
    return RunInProgressError(claim.lease.location, pid=pid, host=host, since=taken)
