"""The statements that claim runs, and the rows that they leave."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, cast

from aiocheckpoint.handlers.leased._requests import Claimed
from aiocheckpoint.handlers.leased._rows import StoredRun
from aiocheckpoint.handlers.sqlite._statements import (
    CLAIM,
    GIVEN_FOOTER,
    INSERT_NEW,
    LONG_FOOTER,
    NO_FOOTER,
    SELECT_CLAIMED,
)
from aiocheckpoint.handlers.sqlite._values import claim_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint.handlers.leased._requests import Claim

__all__ = ["claimed_rows", "insert_new", "take_free"]

_LAST_IN_ORDER = 1 << 40
"""More rows than any database has. A higher id means that the id 2^63 - 1 is in use, after which
SQLite picks ids at random."""
_Facts = tuple[str | None, str | None, int, int, int, str | None, str | None, bool]
_NO_FACTS: _Facts = None, None, 0, 0, 0, None, None, False
"""The facts of a run that no start of is counted by."""


def take_free(
    connection: sqlite3.Connection, claims: Sequence[Claim], owner_id: str, now: float
) -> None:
    """Claim the runs that are free or new."""
    rows = [claim_values(claim, owner_id, now) for claim in claims]
    for _ in CLAIM.execute(connection, rows):
        pass


def insert_new(
    connection: sqlite3.Connection, claims: Sequence[Claim], owner_id: str, now: float
) -> list[Claimed] | None:
    """Claim runs by one statement, if none of them has a row, else do nothing.

    Returns:
        The result of each. Empty if the rows have to be looked up. None if nothing was done.
    """
    rows = [claim_values(claim, owner_id, now) for claim in claims]
    try:
        (cursor,) = INSERT_NEW.execute(connection, rows)
    except sqlite3.IntegrityError:
        return None
    last = cast("int", cursor.lastrowid)
    if last > _LAST_IN_ORDER:
        return []
    first = last - len(claims) + 1
    return [
        Claimed(row, values[3], len(values[10]), b"", inserted=True)
        for row, values in enumerate(rows, first)
    ]


def claimed_rows(connection: sqlite3.Connection, claims: Sequence[Claim]) -> list[StoredRun]:
    """Look up the rows of the runs that are claimed.

    All rows arrive in one text of words. Each row of a result would be a step, at which the
    interpreter's lock is given up, see `_statements`.
    """
    rows = [(*claim.lease.key, number, claim.footer) for number, claim in enumerate(claims)]
    found: list[StoredRun] = []
    for cursor in SELECT_CLAIMED.execute(connection, rows):
        # The row of a refused run may have been deleted since.
        lines = filter(None, (cursor.fetchone()[0] or "").split(","))
        found += [_stored_run(line, claims) for line in lines]
    return found


def _stored_run(line: str, claims: Sequence[Claim]) -> StoredRun:
    number, token, row, owner, since, length, footer, facts, ending = line.split(" ")
    return StoredRun(
        int(number),
        int(row),
        int(token),
        owner or None,
        float(since),
        int(length),
        _footer(footer, claims[int(number)]),
        *(_facts(facts) if facts else _NO_FACTS),
        ending == "1",
    )


def _footer(word: str, claim: Claim) -> bytes | None:
    if word == GIVEN_FOOTER:
        return claim.footer
    if word == NO_FOOTER:
        return None
    # An empty footer means a damaged row, which reading the row reports.
    return b"" if word == LONG_FOOTER else bytes.fromhex(word)


def _facts(words: str) -> _Facts:
    """The facts of a stored run that starts are counted by, in the order of `StoredRun`."""
    text = bytes.fromhex(words).decode("utf-8", "replace")
    status, stopped_by, number, position, sequence, lost, progress, start = text.split("/", 7)
    numbers = int(number), int(position), int(sequence)
    return status, stopped_by or None, *numbers, lost or None, start or None, progress == "1"
