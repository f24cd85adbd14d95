"""The statements that write runs, on one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint.handlers.leased._writing import WritingStatements
from aiocheckpoint.handlers.sqlite._claiming import claimed_rows, take_free
from aiocheckpoint.handlers.sqlite._ending_column import clear_ending, write_ending
from aiocheckpoint.handlers.sqlite._history import prune, retain_current
from aiocheckpoint.handlers.sqlite._listing import prune_rows
from aiocheckpoint.handlers.sqlite._progress_table import write_progress
from aiocheckpoint.handlers.sqlite._rows import delete_run, insert_queued, release
from aiocheckpoint.handlers.sqlite._statements import (
    RECORD_START,
    SAVE_STATUS,
    SAVE_STEP,
    SELECT_ENDINGS,
    SELECT_STORED,
    numbers_in,
)
from aiocheckpoint.handlers.sqlite._values import status_values, step_values

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers.leased._requests import Claim, Key, LeaseRecord, Release, Save
    from aiocheckpoint.handlers.leased._rows import QueuedColumns, QueuedRow, StartRow, StoredRun

__all__ = ["SqliteStatements"]


class SqliteStatements(WritingStatements):
    """See `WritingStatements`.

    Args:
        raw: The connection, in autocommit mode.

    Attributes:
        raw: The connection.
    """

    def __init__(self, raw: sqlite3.Connection) -> None:
        self.raw: sqlite3.Connection = raw

    def claim(self, claims: Sequence[Claim], owner_id: str, now: float) -> list[StoredRun]:
        take_free(self.raw, claims, owner_id, now)
        return claimed_rows(self.raw, claims)

    def record_starts(self, starts: Sequence[StartRow]) -> None:
        for _ in RECORD_START.execute(self.raw, starts):
            pass

    def save_steps(self, saves: Sequence[Save]) -> int:
        rows = [step_values(save) for save in saves]
        return sum(cursor.rowcount for cursor in SAVE_STEP.execute(self.raw, rows))

    def save_statuses(self, saves: Sequence[Save], owner_id: str) -> int:
        rows = [status_values(save, owner_id) for save in saves]
        return sum(cursor.rowcount for cursor in SAVE_STATUS.execute(self.raw, rows))

    def stored(self, saves: Sequence[Save]) -> set[int]:
        rows = [(save.lease.row, save.footer, number) for number, save in enumerate(saves)]
        return numbers_in(SELECT_STORED.execute(self.raw, rows))

    def with_ending(self, saves: Sequence[Save]) -> set[int]:
        rows = [(save.lease.row, number) for number, save in enumerate(saves)]
        return numbers_in(SELECT_ENDINGS.execute(self.raw, rows))

    def retain(self, saves: Sequence[Save]) -> None:
        retain_current(self.raw, saves)

    def prune(self, saves: Sequence[Save]) -> None:
        prune(self.raw, saves)

    def release(self, releases: Sequence[Release]) -> None:
        for one in releases:
            release(self.raw, one)

    def delete(self, lease: LeaseRecord) -> bool:
        return delete_run(lease, self.raw)

    def insert_queued(self, common: QueuedColumns, rows: Sequence[QueuedRow]) -> set[int]:
        return insert_queued(self.raw, common, rows)

    def write_progress(self, records: Sequence[tuple[LeaseRecord, bytes]]) -> None:
        for lease, record in records:
            write_progress(lease, record, self.raw)

    def write_ending(self, key: Key, request: str) -> None:
        write_ending(key, request, self.raw)

    def clear_ending(self, lease: LeaseRecord) -> None:
        clear_ending(lease, self.raw)

    def prune_rows(self, flow: str | bytes, query: Query, *, unsigned: bool) -> int:
        return prune_rows(self.raw, flow, query, unsigned=unsigned)
