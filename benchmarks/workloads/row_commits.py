"""The least that durable steps can cost on PostgreSQL: one statement and commit for many rows."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import Connection

__all__ = ["RowCommits", "StatementHop"]

_UPDATE = """UPDATE {schema}.floor AS f SET snapshot = substring(%s::bytea FROM v.o FOR v.l)
FROM unnest(%s::text::bigint[], %s::text::int[], %s::text::int[]) AS v (id, o, l)
WHERE f.id = v.id AND f.token = v.id RETURNING f.id"""


class RowCommits:
    """Updates a row of each run under its token, all in one durable commit, many times.

    All snapshots travel as one bytea, which the server cuts by offsets.

    Args:
        connection: Its own connection, in autocommit.
        schema: The schema in which the table is made.
        rows: How many rows there are.
        steps: How many commits a sample has.
        size: How many bytes a row's snapshot has.
    """

    def __init__(
        self, connection: Connection, schema: str, rows: int, steps: int, size: int
    ) -> None:
        self._connection = connection
        self._statement = _UPDATE.format(schema=schema).encode()
        self._rows = rows
        self._steps = steps
        self._size = size
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {schema}.floor "
            "(id bigint PRIMARY KEY, token bigint NOT NULL, snapshot bytea NOT NULL)".encode()
        )
        connection.execute(
            f"INSERT INTO {schema}.floor SELECT n, n, '' "  # noqa: S608 - a schema made here
            "FROM generate_series(1, %s) AS n ON CONFLICT DO NOTHING".encode(),
            (rows,),
        )

    def sample(self) -> float:
        """Do all steps, and give how many rows there are in a second."""
        begun = time.perf_counter()
        for _ in range(self._steps):
            self.commit()
        return self._rows * self._steps / (time.perf_counter() - begun)

    def commit(self) -> None:
        """Update each row once."""
        offsets = range(1, self._rows * self._size + 1, self._size)
        values = (
            os.urandom(self._rows * self._size),
            _array(range(1, self._rows + 1)),
            _array(offsets),
            _array([self._size] * self._rows),
        )
        done = self._connection.execute(self._statement, values, binary=True, prepare=True)
        assert len(done.fetchall()) == self._rows


class StatementHop:
    """One durable statement for one row, in a thread that the loop waits for.

    Args:
        commits: Makes the statement, for one row.
        times: How many a sample has.
    """

    def __init__(self, commits: RowCommits, times: int) -> None:
        self._commits = commits
        self._times = times

    async def microseconds(self) -> float:
        """Give the time of one statement with its hop."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as pool:
            await loop.run_in_executor(pool, self._commits.commit)
            begun = time.perf_counter()
            for _ in range(self._times):
                await loop.run_in_executor(pool, self._commits.commit)
            return (time.perf_counter() - begun) * 1e6 / self._times


def _array(numbers: Iterable[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"
