"""What the writer's thread does: all that waits, in one transaction, with one flush of the disk."""

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
from aiocheckpoint.handlers.sqlite._batches import Batch, batches
from aiocheckpoint.handlers.sqlite._history import prune, retain_current
from aiocheckpoint.handlers.sqlite._owners import Owner, Owners
from aiocheckpoint.handlers.sqlite._requests import Claim, Release
from aiocheckpoint.handlers.sqlite._schema import (
    abandon_connection,
    connect,
    file_identity,
    retry_while_busy,
    translate_error,
)
from aiocheckpoint.handlers.sqlite._statements import (
    CLAIM,
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

_MANY = 64
_SECONDS_BETWEEN_LOOKS = 0.1
_LAST_IN_ORDER = 1 << 40
"""More rows than there will ever be. A higher id says that one of 2^63 - 1 is in use, behind which
SQLite picks ids at random."""
_Claimed = tuple[int, int, int, str, float, int, str]


class Transactions:
    """Does the jobs of many runs in one transaction.

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
        self._begin()

    def _begin(self) -> None:
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._looked = -math.inf
        self._tokens = itertools.count(secrets.randbits(61) + 1)
        self._held: set[int] = set()
        self._owed: list[Release] = []
        self._unwanted: list[Release] = []

    def apply(self, jobs: Sequence[PendingResult[Any]]) -> None:
        """Do jobs, and set the result or the error of each."""
        groups = list(batches(jobs))
        self._attempt(jobs, partial(self._write, groups=groups))
        refused = [job for job in jobs if isinstance(job.work, Claim) and not job.answered]
        if refused:
            self._attempt(refused, partial(self._claim_of_the_gone, jobs=refused))
        if self._unwanted:
            self._owed += self._unwanted
            self._unwanted.clear()
            self.idle()

    def pause(self) -> float | None:
        """Tell when the leases are to be renewed, or given back once more."""
        if not self._held and not self._owed:
            return None
        return max(self._shortest_pause, self.owners.seconds_left)

    def idle(self) -> None:
        """Renew the leases, and give back what could not be given back."""
        self.apply([])

    def close(self) -> None:
        """Give everything back and close the database."""
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

    def forget(self) -> None:
        """Start over in a forked child, as another owner."""
        abandon_connection(self._connection)
        self.owners.forget()
        self._begin()

    def _attempt(
        self, jobs: Sequence[PendingResult[Any]], work: Callable[[sqlite3.Connection], None]
    ) -> None:
        """Do something for jobs, and where it fails, set the error of each."""
        try:
            work(self._open(len(jobs)))
        except sqlite3.Error as error:
            self._fail(jobs, translate_error(error, self._path, "writing"))
        # Whatever it was, those who wait must hear of it.
        except BaseException as error:  # noqa: BLE001
            self._fail(jobs, error)

    def _fail(self, jobs: Sequence[PendingResult[Any]], error: BaseException) -> None:
        if not jobs:
            logger.warning("The leases of runs could not be renewed, and may be lost: %s", error)
        for job in jobs:
            if isinstance(job.work, Release):
                self._owed.append(job.work)
            else:
                # Of its own for each, because tracebacks and notes are put on them.
                job.error = copy.copy(error) if isinstance(error, CheckpointError) else error

    def _open(self, jobs: int) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path, durable=self._durable)
            self._file = file_identity(self._path)
        elif self._is_to_look(jobs) and file_identity(self._path) != self._file:
            # SQLite would go on writing to the file that nobody can open any more.
            self._connection.close()
            self._connection = None
            raise StorageError(
                self._path,
                f"{self._path} was deleted, moved or replaced while it was in use, so nothing "
                "more is written for the runs under way. Put it back, or run again to begin in "
                "the file that is there now.",
            )
        return self._connection

    def _is_to_look(self, jobs: int) -> bool:
        """Whether to see that the file is still there, before so many jobs.

        Where many wait, the loop is busy, and it takes this thread up to 5 ms to get back the
        interpreter's lock behind a system call. What was stored before is lost with the file
        anyway, and with it, then, at most what was stored in a tenth of a second after.
        """
        now = time.monotonic()
        if jobs >= _MANY and now < self._looked + _SECONDS_BETWEEN_LOOKS:
            return False
        self._looked = now
        return True

    def _write(self, connection: sqlite3.Connection, groups: Sequence[Batch]) -> None:
        """Do all jobs at once, in a transaction, or in the one that a single statement is."""
        alone = len(groups) == 1 and not self._owed and self.owners.seconds_left > 0
        if alone and groups[0].is_one_statement:
            self._do(connection, groups[0])
        elif not (alone and groups[0].is_new and self._bear(connection, groups[0].claims)):
            self._in_transaction(connection, partial(self._do_all, groups=groups))
        for group in groups:
            self._note(group)

    def _in_transaction(
        self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], None]
    ) -> None:
        retry_while_busy(lambda: connection.execute("BEGIN IMMEDIATE"))
        try:
            self.owners.renew(connection)
            work(connection)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            self.owners.rolled_back()
            raise
        self.owners.committed()

    def _do_all(self, connection: sqlite3.Connection, groups: Sequence[Batch]) -> None:
        owed = self._owed[:]
        for one in owed:
            self._give_back(connection, one)
        for group in groups:
            self._do(connection, group)
        del self._owed[: len(owed)]

    def _do(self, connection: sqlite3.Connection, group: Batch) -> None:
        if group.other is not None:
            self._do_other(connection, group.other)
        if group.claims:
            self._claim(connection, group.claims)
        if group.steps or group.edges:
            self._save(connection, group)

    def _do_other(self, connection: sqlite3.Connection, job: PendingResult[Any]) -> None:
        if isinstance(job.work, Release):
            self._give_back(connection, job.work)
            return
        connection.execute("SAVEPOINT one")
        try:
            job.result = job.work.function(connection)
        except CheckpointError as error:
            job.error = error
            connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")

    def _give_back(self, connection: sqlite3.Connection, work: Release) -> None:
        self._held.discard(work.token)
        connection.execute("DELETE FROM runs WHERE id = ? AND token = ? AND status IS NULL", work)
        connection.execute(
            "UPDATE runs SET owner = NULL, token = 0 WHERE id = ? AND token = ?", work
        )

    def _save(self, connection: sqlite3.Connection, group: Batch) -> None:
        retain_current(connection, [job.work for job in group.keeping])
        steps = [job.work.step_values() for job in group.steps]
        edges = [job.work.status_values(self.owners.id) for job in group.edges]
        done = sum(cursor.rowcount for cursor in SAVE_STEP.execute(connection, steps))
        done += sum(cursor.rowcount for cursor in SAVE_STATUS.execute(connection, edges))
        if done != len(steps) + len(edges):
            _fail_lost_leases(connection, [*group.steps, *group.edges])
        # What is kept of a run is for its owner alone to delete.
        prune(connection, [job.work for job in group.keeping if job.error is None])

    def _rows(self, jobs: list[PendingResult[Any]]) -> list[tuple[Any, ...]]:
        now, owner_id, tokens = time.time(), self.owners.id, self._tokens
        return [job.work.row(owner_id, next(tokens), now) for job in jobs]

    def _bear(self, connection: sqlite3.Connection, jobs: list[PendingResult[Any]]) -> bool:
        """Claim runs and set the results, if there is nothing of any of them; else do nothing."""
        rows = self._rows(jobs)
        try:
            (cursor,) = INSERT_NEW.execute(connection, rows)
        except sqlite3.IntegrityError:
            return False
        last = cast("int", cursor.lastrowid)
        if last > _LAST_IN_ORDER:
            self._set_claimed(connection, jobs, rows)
            return True
        first = last - len(jobs) + 1
        for row, (job, values) in enumerate(zip(jobs, rows, strict=True), first):
            job.result = row, values[3], len(job.work.start[1]), "="
        return True

    def _claim(self, connection: sqlite3.Connection, jobs: list[PendingResult[Any]]) -> None:
        """Claim what is free, and set the results of the jobs that got it."""
        rows = self._rows(jobs)
        for _ in CLAIM.execute(connection, rows):
            pass
        self._set_claimed(connection, jobs, rows)

    def _set_claimed(
        self,
        connection: sqlite3.Connection,
        jobs: list[PendingResult[Any]],
        rows: list[tuple[Any, ...]],
    ) -> None:
        for number, token, row, _, _, length, footer in _claimed(connection, jobs):
            if token == rows[number][3]:
                jobs[number].result = row, token, length, footer

    def _claim_of_the_gone(
        self, connection: sqlite3.Connection, jobs: list[PendingResult[Any]]
    ) -> None:
        """Claim the runs whose owners are gone, and say who has the others."""
        self._in_transaction(connection, partial(self._bury_and_claim, jobs=jobs))
        self._note(Batch(claims=jobs))

    def _bury_and_claim(
        self, connection: sqlite3.Connection, jobs: list[PendingResult[Any]]
    ) -> None:
        found: dict[str, Owner | None] = {}
        for owner_id in {owner for *_, owner, _, _, _ in _claimed(connection, jobs) if owner}:
            found[owner_id] = self.owners.expire_if_dead(connection, owner_id)
        self._claim(connection, jobs)
        for number, _, _, owner_id, since, _, _ in _claimed(connection, jobs):
            job = jobs[number]
            if job.result is None:
                job.error = _in_progress(job.work, found.get(owner_id), since)

    def _note(self, group: Batch) -> None:
        """Tell the leases what was committed."""
        for job in group.claims:
            if job.result is not None:
                lease, (row, token, *_) = job.work.lease, job.result
                lease.taken(*job.result)
                self._held.add(token)
                if lease.unwanted:
                    self._unwanted.append(Release(row, token))
        for job in group.edges:  # a step changes nothing of its lease
            if job.error is None:
                if job.work.ends:
                    self._held.discard(job.work.lease.token)
                job.work.lease.saved(job.work.header)


def _claimed(
    connection: sqlite3.Connection, jobs: Sequence[PendingResult[Any]]
) -> Iterator[_Claimed]:
    """Tell of the runs that jobs claim."""
    rows = [(*job.work.key, number, job.work.footer) for number, job in enumerate(jobs)]
    for cursor in SELECT_CLAIMED.execute(connection, rows):
        # A run that was refused a moment ago may be deleted by now.
        for line in filter(None, (cursor.fetchone()[0] or "").split(",")):
            number, token, row, owner, since, length, footer = line.split(" ")
            yield int(number), int(token), int(row), owner, float(since), int(length), footer


def _fail_lost_leases(connection: sqlite3.Connection, jobs: Sequence[PendingResult[Any]]) -> None:
    """Set the error of those whose snapshot is not what is stored now."""
    stored: set[int] = set()
    rows = [(job.work.lease.row, job.work.footer, number) for number, job in enumerate(jobs)]
    for cursor in SELECT_STORED.execute(connection, rows):
        stored.update(map(int, filter(None, (cursor.fetchone()[0] or "").split(","))))
    for number, job in enumerate(jobs):
        if number not in stored:
            job.error = LeaseLostError(job.work.lease.location)


def _in_progress(claim: Claim, owner: Owner | None, since: float) -> RunInProgressError:
    if owner is None:  # Another run of this process was faster in the same transaction.
        pid, host = os.getpid(), socket.gethostname()
    else:
        pid, host = owner.pid, owner.host
    taken = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")
    return RunInProgressError(claim.lease.location, pid=pid, host=host, since=taken)
