"""What the writer's thread does: all that waits, in one transaction, with one flush of the disk."""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import secrets
import socket
import sqlite3
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiocheckpoint._logging import logger
from aiocheckpoint.errors import (
    CheckpointError,
    LeaseLostError,
    RunInProgressError,
    StorageError,
)
from aiocheckpoint.handlers._database import connect, identity, patiently, translated
from aiocheckpoint.handlers._kept_rows import keep_older, prune
from aiocheckpoint.handlers._leases import Call, Claim, GiveBack, Save
from aiocheckpoint.handlers._owners import Owner, Owners
from aiocheckpoint.handlers._statements import CLAIM, CLAIMED, EDGE, STEP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiocheckpoint._jobs import Job

__all__ = ["Transactions"]


_ITS_OWN_FAULT = (sqlite3.DataError, sqlite3.IntegrityError)
"""What one job alone is to blame for."""


class _LostError(Exception):
    """A lease among many was lost; which one is found by doing all again one by one."""


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
        self._tokens = itertools.count(secrets.randbits(61) + 1)
        self._held: set[int] = set()
        self._owed: list[GiveBack] = []

    def apply(self, jobs: Sequence[Job[Any]]) -> None:
        """Do jobs, and set the result or the error of each.

        All are done or none; where one cannot be done by itself, it alone has the error.
        """
        try:
            connection = self._open()
            try:
                self._transact(connection, list(_groups(jobs)))
            except (_LostError, *_ITS_OWN_FAULT):
                self._transact(connection, [[job] for job in jobs])
        except sqlite3.Error as error:
            self._fail(jobs, translated(error, self._path, "writing"))
        # Whatever it was, those who wait must hear of it.
        except BaseException as error:  # noqa: BLE001
            self._fail(jobs, error)

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
            self.owners.retire(connection)
            connection.execute("COMMIT")
        with contextlib.suppress(sqlite3.Error):
            connection.close()
        self.owners.release()

    def forget(self) -> None:
        """Start over in a forked child, as another owner.

        SQLite's connections must not be used across a fork, nor closed
        (https://www.sqlite.org/howtocorrupt.html, section 2.6).
        """
        _LEFT_BY_PARENT.append(self._connection)
        self.owners.forget()
        self._begin()

    def _fail(self, jobs: Sequence[Job[Any]], error: BaseException) -> None:
        if not jobs:
            logger.warning("The leases of runs could not be renewed, and may be lost: %s", error)
        for job in jobs:
            if isinstance(job.work, GiveBack):
                self._owed.append(job.work)
            else:
                # Of its own for each, because tracebacks and notes are put on them.
                job.error = copy.copy(error) if isinstance(error, CheckpointError) else error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path, durable=self._durable)
            self._file = identity(self._path)
        elif identity(self._path) != self._file:
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

    def _transact(self, connection: sqlite3.Connection, groups: Sequence[list[Job[Any]]]) -> None:
        alone = all(len(group) == 1 for group in groups)
        patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
        try:
            self.owners.renew(connection)
            owed = self._owed[:]
            for one in owed:
                self._give_back(connection, one)
            for group in groups:
                self._do(connection, group, alone=alone)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            self.owners.rolled_back()
            raise
        self.owners.committed()
        del self._owed[: len(owed)]
        for group in groups:
            self._note(group)

    def _do(self, connection: sqlite3.Connection, group: list[Job[Any]], *, alone: bool) -> None:
        job, work = group[0], group[0].work
        if isinstance(work, GiveBack):
            self._give_back(connection, work)
            return
        if not alone and not isinstance(work, Call):
            self._do_group(connection, group)
            return
        connection.execute("SAVEPOINT one")
        try:
            if isinstance(work, Call):
                job.error = None
                job.result = work.function(connection)
            else:
                self._do_group(connection, group)
        except _LostError as lost:
            self._undo(connection, job, LeaseLostError(str(lost)))
        except CheckpointError as error:
            self._undo(connection, job, error)
        except _ITS_OWN_FAULT as error:
            self._undo(connection, job, translated(error, self._path, "writing"))
        connection.execute("RELEASE one")

    def _undo(self, connection: sqlite3.Connection, job: Job[Any], error: BaseException) -> None:
        job.error = error
        connection.execute("ROLLBACK TO one")

    def _do_group(self, connection: sqlite3.Connection, group: list[Job[Any]]) -> None:
        claims: list[Job[Any]] = []
        saves: list[Save] = []
        for job in group:
            job.error = job.result = None
            if isinstance(job.work, Claim):
                claims.append(job)
            else:
                saves.append(job.work)
        if claims:
            self._claim(connection, claims)
        if saves:
            self._save(connection, saves)

    def _give_back(self, connection: sqlite3.Connection, work: GiveBack) -> None:
        self._held.discard(work.token)
        connection.execute("DELETE FROM runs WHERE id = ? AND token = ? AND status IS NULL", work)
        connection.execute(
            "UPDATE runs SET owner = NULL, token = 0 WHERE id = ? AND token = ?", work
        )

    def _save(self, connection: sqlite3.Connection, saves: list[Save]) -> None:
        older = [save for save in saves if save.lease.keep != 1]
        keep_older(connection, older)
        steps = [save.step_row() for save in saves if save.is_step]
        edges = [save.edge_row(self.owners.id) for save in saves if not save.is_step]
        done = sum(cursor.rowcount for cursor in STEP.execute(connection, steps))
        done += sum(cursor.rowcount for cursor in EDGE.execute(connection, edges))
        if done != len(saves):
            raise _LostError(saves[0].lease.location)
        prune(connection, older)

    def _claim(self, connection: sqlite3.Connection, jobs: list[Job[Any]]) -> None:
        left = self._try_to_claim(connection, jobs)
        if not left:
            return
        owners = {owner for owner, _ in left.values()}
        found = {owner: self.owners.bury_if_gone(connection, owner) for owner in owners}
        self._try_to_claim(connection, [job for job in left if found[left[job][0]] is None])
        for job, (owner, since) in left.items():
            if job.result is None:
                job.error = _in_progress(job.work, found[owner], since)

    def _try_to_claim(
        self, connection: sqlite3.Connection, jobs: list[Job[Any]]
    ) -> dict[Job[Any], tuple[str, float]]:
        """Claim what is free: set the results, and tell who took the rest, and when."""
        now, owner_id, tokens = time.time(), self.owners.id, self._tokens
        rows = [(*job.work.key, owner_id, next(tokens), now) for job in jobs]
        for _ in CLAIM.execute(connection, rows):
            pass
        left: dict[Job[Any], tuple[str, float]] = {}
        wanted = [(*job.work.key, number) for number, job in enumerate(jobs)]
        for cursor in CLAIMED.execute(connection, wanted):
            for line in cursor.fetchone()[0].split(","):
                number, token, row, owner, since, length, footer = line.split(" ")
                job = jobs[int(number)]
                if int(token) == rows[int(number)][3]:
                    job.result = int(row), int(token), int(length), bytes.fromhex(footer)
                else:
                    left[job] = owner, float(since)
        return left

    def _note(self, group: list[Job[Any]]) -> None:
        """Tell the leases what was committed."""
        for job in group:
            if job.error is not None:
                continue
            if isinstance(job.work, Claim):
                job.work.lease.taken(*job.result)
                self._held.add(job.work.lease.token)
            elif isinstance(job.work, Save):
                if job.work.ends:
                    self._held.discard(job.work.lease.token)
                job.work.lease.saved(job.work.header)


def _groups(jobs: Sequence[Job[Any]]) -> Iterator[list[Job[Any]]]:
    """Cut jobs, in their order, into groups whose members may be done in any order."""
    group: list[Job[Any]] = []
    keys: set[object] = set()
    for job in jobs:
        key = job.work.key
        if group and (key is None or key in keys):
            yield group
            group, keys = [], set()
        group.append(job)
        keys.add(key)
        if key is None:
            yield group
            group, keys = [], set()
    if group:
        yield group


def _in_progress(claim: Claim, owner: Owner | None, since: float) -> RunInProgressError:
    if owner is None:  # Another run of this process was faster in the same transaction.
        pid, host = os.getpid(), socket.gethostname()
    else:
        pid, host = owner.pid, owner.host
    taken = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")
    return RunInProgressError(claim.lease.location, pid=pid, host=host, since=taken)


_LEFT_BY_PARENT: list[sqlite3.Connection | None] = []
"""Never closed."""
