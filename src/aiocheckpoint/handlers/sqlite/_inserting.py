"""Storing many queued runs at once: rows without an owner, by group commit."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint._model.given_state import UNDIGESTED
from aiocheckpoint._snapshot.new_headers import NewHeaders
from aiocheckpoint._snapshot.pickling.serializer import NotSmallError
from aiocheckpoint.errors import CheckpointError
from aiocheckpoint.handlers.sqlite._requests import Execute, due_column, sql_text
from aiocheckpoint.handlers.sqlite._run_store import encode_snapshot
from aiocheckpoint.handlers.sqlite._statements import INSERT_QUEUED, MOST_ROWS, SELECT_INSERTED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.codec import Codec, EncodedSnapshot
    from aiocheckpoint.handlers.sqlite._database import Database

__all__ = ["Inserted", "Inserter"]

_Columns = tuple[Any, ...]
Inserted = list["Header | CheckpointError | None"]
"""The results of `WholeStorePort.insert_runs`."""

_MOST_BYTES = 1 << 24
"""About so many bytes are in memory, and in one transaction, beside the given states."""


class _Row(NamedTuple):
    """The values of one run in `INSERT_QUEUED`, in their order."""

    run_id: str | bytes
    written_at: float
    footer: bytes
    payload: bytes


class Inserter:
    """Inserts runs that nobody owns.

    Args:
        database: The database.
        codec: Encodes the snapshots.
        locate: Names the location of a run.
        backend: Waits for the writer thread.
    """

    def __init__(
        self,
        database: Database,
        codec: Codec,
        locate: Callable[[str | None], str],
        backend: Backend,
    ) -> None:
        self._database, self._codec, self._locate = database, codec, locate
        self._backend = backend

    async def insert(self, common: Header, runs: Sequence[tuple[str, dict[str, Any]]]) -> Inserted:
        """Do as `WholeStorePort.insert_runs`."""
        results: Inserted = [None] * len(runs)
        rows: dict[int, _Row] = {}
        size, headers = 0, NewHeaders(common)
        columns = _common_columns(headers.common)
        for index, (run_id, state) in enumerate(runs):
            try:
                snapshot = self._encode_small(headers, run_id, state)
                if snapshot is None:
                    snapshot = await self._encode_large(headers, run_id, state)
            except CheckpointError as error:
                results[index] = error
                continue
            header, payload, footer = snapshot
            results[index] = header
            rows[index] = _Row(sql_text(run_id), header.written_at, footer, payload)
            size += len(payload)
            if size > _MOST_BYTES:
                await self._insert(columns, rows, results)
                rows, size = {}, 0
        await self._insert(columns, rows, results)
        return results

    def _encode_small(
        self, headers: NewHeaders, run_id: str, state: dict[str, Any]
    ) -> EncodedSnapshot | None:
        """Make a snapshot on the loop. None where that could take long."""
        try:
            return None if self._codec.verify else self._codec.encode_new(headers, run_id, state)
        except NotSmallError:
            return None

    async def _encode_large(
        self, headers: NewHeaders, run_id: str, state: dict[str, Any]
    ) -> EncodedSnapshot:
        header, location = headers.of(run_id, UNDIGESTED), self._locate(run_id)
        return await self._backend.run(encode_snapshot, self._codec, header, state, location)

    async def _insert(self, columns: _Columns, rows: dict[int, _Row], results: Inserted) -> None:
        """Insert rows by their index, and set the result of each row that is not stored."""
        if not rows:
            return
        indexes, backend = list(rows), self._backend
        work = partial(_insert_rows, columns, list(rows.values()))
        # More rows take several statements, which need a transaction around them.
        of_one_statement = len(rows) if len(rows) <= MOST_ROWS else 0
        insert = Execute(work, of_one_statement)
        try:
            left: set[int] = await backend.wait_for(self._database.ask(insert, backend.loop))
        except CheckpointError as error:
            for index in indexes:
                results[index] = copy.copy(error)  # A caller may add notes to it.
            return
        for number in left:
            results[indexes[number]] = None


def _common_columns(header: Header) -> _Columns:
    """The common values of `INSERT_QUEUED`."""
    facts = header.position, header.next_step, header.sequence, header.status, header.number
    return sql_text(header.flow), *facts, due_column(header)


def _insert_rows(
    columns: _Columns, rows: Sequence[_Row], connection: sqlite3.Connection
) -> set[int]:
    """Insert rows, and give the number of each whose run has a row already."""
    done = sum(cursor.rowcount for cursor in INSERT_QUEUED.execute(connection, rows, columns))
    if done == len(rows):
        return set()
    left = set(range(len(rows)))
    flow = columns[0]
    named = [(flow, row.run_id, number, row.footer) for number, row in enumerate(rows)]
    for cursor in SELECT_INSERTED.execute(connection, named):
        left.difference_update(map(int, filter(None, (cursor.fetchone()[0] or "").split(","))))
    return left
