"""Storing many queued runs at once: rows without an owner, by group commit."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.header_json import HeaderEncoder
from aiocheckpoint._snapshot.pickling.serializer import NotSmallError
from aiocheckpoint.errors import CheckpointError
from aiocheckpoint.handlers.sqlite._requests import Execute, due_column, sql_text
from aiocheckpoint.handlers.sqlite._run_store import encode_snapshot
from aiocheckpoint.handlers.sqlite._statements import INSERT_QUEUED, SELECT_INSERTED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.codec import Codec, EncodedSnapshot
    from aiocheckpoint.handlers.sqlite._database import Database

__all__ = ["Inserted", "Inserter"]

_Row = tuple[Any, ...]
Inserted = list["Header | CheckpointError | None"]
"""The results of `WholeStorePort.insert_runs`."""

_MOST_BYTES = 1 << 24
"""About so many bytes are in memory, and in one transaction, beside the given states."""


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
        self._encode = HeaderEncoder().encode
        # What the rows of new runs have in common, with the facts of headers that it comes from.
        self._common: tuple[tuple[object, ...], tuple[str | bytes, str | None, float | None]]
        self._common = (), ("", None, None)

    async def insert(self, runs: Sequence[tuple[Header, dict[str, Any]]]) -> Inserted:
        """Do as `WholeStorePort.insert_runs`."""
        results: Inserted = [None] * len(runs)
        rows: dict[int, _Row] = {}
        size, codec, encode = 0, self._codec, self._encode
        for index, (header, state) in enumerate(runs):
            try:
                if codec.verify:
                    snapshot = await self._encode_large(header, state)
                else:
                    snapshot = codec.encode_small(header, state, encode)
            except NotSmallError:
                snapshot = await self._encode_large(header, state)
            if isinstance(snapshot, CheckpointError):
                results[index] = snapshot
                continue
            written, payload, footer = snapshot
            results[index], rows[index] = written, self._row(written, payload, footer)
            size += len(payload)
            if size > _MOST_BYTES:
                await self._insert(rows, results)
                rows, size = {}, 0
        await self._insert(rows, results)
        return results

    async def _encode_large(
        self, header: Header, state: dict[str, Any]
    ) -> EncodedSnapshot | CheckpointError:
        location = self._locate(header.run_id)
        try:
            return await self._backend.run(encode_snapshot, self._codec, header, state, location)
        except CheckpointError as error:
            return error

    def _row(self, header: Header, payload: bytes, footer: bytes) -> _Row:
        facts = (
            header.flow,
            header.steps,
            header.excerpt,
            header.position,
            header.status,
            header.due,
        )
        known, common = self._common
        if facts != known:
            common = sql_text(header.flow), header.next_step, due_column(header)
            self._common = facts, common
        flow, step, due = common
        return (
            flow,
            sql_text(header.run_id or ""),
            header.position,
            step,
            header.sequence,
            header.written_at,
            footer,
            payload,
            header.status,
            header.number,
            header.started_at,
            due,
        )

    async def _insert(self, rows: dict[int, _Row], results: Inserted) -> None:
        """Insert rows by their index, and set the result of each row that is not stored."""
        if not rows:
            return
        indexes, backend = list(rows), self._backend
        insert = Execute(partial(_insert_rows, list(rows.values())))
        try:
            left: set[int] = await backend.wait_for(self._database.ask(insert, backend.loop))
        except CheckpointError as error:
            for index in indexes:
                results[index] = copy.copy(error)
            return
        for number in left:
            results[indexes[number]] = None


def _insert_rows(rows: Sequence[_Row], connection: sqlite3.Connection) -> set[int]:
    """Insert rows, and give the number of each whose run has a row already."""
    done = sum(cursor.rowcount for cursor in INSERT_QUEUED.execute(connection, rows))
    if done == len(rows):
        return set()
    left = set(range(len(rows)))
    named = [(*row[:2], number, row[6]) for number, row in enumerate(rows)]
    for cursor in SELECT_INSERTED.execute(connection, named):
        left.difference_update(map(int, filter(None, (cursor.fetchone()[0] or "").split(","))))
    return left
