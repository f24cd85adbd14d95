"""Claiming runs: new ones, free ones, and those of dead owners."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from aiocheckpoint._model.start_record import SHOWN_RUNNING_AFTER_CLAIM, StartRecord, next_start
from aiocheckpoint.errors import RunInProgressError
from aiocheckpoint.handlers.sqlite._requests import Claimed
from aiocheckpoint.handlers.sqlite._statements import (
    CLAIM,
    GIVEN_FOOTER,
    INSERT_NEW,
    RECORD_START,
    SELECT_CLAIMED,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint._model.start_record import Loss
    from aiocheckpoint.handlers.sqlite._owners import Owner
    from aiocheckpoint.handlers.sqlite._requests import Claim
    from aiocheckpoint.handlers.sqlite._session import Session

__all__ = ["claim", "claim_from_dead_owners", "insert_new"]

_LAST_IN_ORDER = 1 << 40
"""More rows than any database has. A higher id means that the id 2^63 - 1 is in use, after which
SQLite picks ids at random."""
_Claimed = tuple[int, int, int, str, float, int, str, str, bool]


def insert_new(session: Session, group: Sequence[PendingResult[Any]]) -> bool:
    """Claim runs and set the results, if none of them has a row, else do nothing."""
    rows = _rows(session, group)
    try:
        (cursor,) = INSERT_NEW.execute(session.connection, rows)
    except sqlite3.IntegrityError:
        return False
    last = cast("int", cursor.lastrowid)
    if last > _LAST_IN_ORDER:
        _set_claimed(session.connection, group, rows)
        return True
    first = last - len(group) + 1
    for row, (pending, values) in enumerate(zip(group, rows, strict=True), first):
        _, payload, _ = pending.request.first_snapshot
        pending.result = Claimed(row, values[3], len(payload), GIVEN_FOOTER)
    return True


def claim(session: Session, group: Sequence[PendingResult[Any]]) -> None:
    """Claim the free runs, and set the results of their requests."""
    rows = _rows(session, group)
    for _ in CLAIM.execute(session.connection, rows):
        pass
    _set_claimed(session.connection, group, rows)


def claim_from_dead_owners(session: Session, group: Sequence[PendingResult[Any]]) -> None:
    """Claim the runs of dead owners. Set the error of each other request, with the owner's name."""
    connection = session.connection
    found: dict[str, Owner | None] = {}
    for owner_id in {owner for _, _, _, owner, *_ in _claimed(connection, group) if owner}:
        found[owner_id] = session.owners.expire_if_dead(connection, owner_id)
    claim(session, group)
    for number, _, _, owner_id, since, *_ in _claimed(connection, group):
        pending = group[number]
        if pending.result is None:
            pending.error = _in_progress(pending.request, found.get(owner_id), since)


def _rows(session: Session, group: Sequence[PendingResult[Any]]) -> list[tuple[Any, ...]]:
    now, owner_id, tokens = time.time(), session.owners.id, session.tokens
    return [pending.request.row(owner_id, next(tokens), now) for pending in group]


def _set_claimed(
    connection: sqlite3.Connection,
    group: Sequence[PendingResult[Any]],
    rows: list[tuple[Any, ...]],
) -> None:
    starts: list[tuple[int, int, str, str]] = []
    for number, token, row, _, _, length, footer, facts, ending in _claimed(connection, group):
        if token != rows[number][3]:
            continue
        start, has_progress = None, False
        if facts and group[number].request.runs:
            text = bytes.fromhex(facts).decode("utf-8", "replace")
            record, status, has_progress = _start(text)
            start = record, status
            shown = "running" if status in SHOWN_RUNNING_AFTER_CLAIM else status
            starts.append((row, token, shown, record.encode()))
        group[number].result = Claimed(*(row, token, length, footer), start, ending, has_progress)
    for _ in RECORD_START.execute(connection, starts):
        pass


class _Facts(NamedTuple):
    """The facts of a stored run that starts are counted by."""

    status: str
    stopped_by: str | None
    number: int
    position: int
    sequence: int


def _start(facts: str) -> tuple[StartRecord, str, bool]:
    """The record of a start of a run with these facts.

    Returns:
        The record, the run's status before it, and whether there is a record of its progress.
    """
    status, stopped_by, number, position, sequence, lost, progress, record = facts.split("/", 7)
    stored = _Facts(status, stopped_by or None, int(number), int(position), int(sequence))
    loss: Loss | None = lost if lost in {"killed", "drained"} else None  # type: ignore[assignment]
    return next_start(stored, StartRecord.decode(record), loss), status, progress == "1"


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
            number, token, row, owner, since, length, footer, facts, ending = line.split(" ")
            numbers = int(number), int(token), int(row)
            yield *numbers, owner, float(since), int(length), footer, facts, ending == "1"


def _in_progress(claim: Claim, owner: Owner | None, since: float) -> RunInProgressError:
    if owner is None:  # Another run of this process was faster in the same transaction.
        pid, host, lease_left = os.getpid(), socket.gethostname(), None
    else:
        pid, host, lease_left = owner.pid, owner.host, owner.lease_left
    taken = None
    with contextlib.suppress(ValueError, OverflowError, OSError):  # a time that no calendar has
        taken = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")
    location = claim.lease.location
    return RunInProgressError(location, pid=pid, host=host, since=taken, lease_left=lease_left)
