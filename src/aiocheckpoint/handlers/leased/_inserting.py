"""Storing many queued runs at once: rows without an owner, by group commit."""

from __future__ import annotations

import copy
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.given_state import UNDIGESTED
from aiocheckpoint._snapshot.new_headers import NewHeaders
from aiocheckpoint._snapshot.pickling.serializer import NotSmallError
from aiocheckpoint.errors import CheckpointError
from aiocheckpoint.handlers.leased._listener import queue_notice
from aiocheckpoint.handlers.leased._requests import Execute, due_column
from aiocheckpoint.handlers.leased._rows import QueuedColumns, QueuedRow
from aiocheckpoint.handlers.leased._run_store import encode_snapshot
from aiocheckpoint.handlers.leased._writer import MOST_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.codec import Codec, EncodedSnapshot
    from aiocheckpoint.handlers.leased._client import StoreClient
    from aiocheckpoint.handlers.leased._store import StorePlace
    from aiocheckpoint.handlers.leased._writing import WritingStatements

__all__ = ["Inserted", "Inserter"]

Inserted = list["Header | CheckpointError | None"]
"""The results of `WholeStorePort.insert_runs`."""

_MOST_BYTES = 1 << 24
"""About so many bytes are in memory, and in one transaction, beside the given states."""


class Inserter:
    """Inserts runs that nobody owns.

    Args:
        client: The store as this process uses it.
        store: The store.
        codec: Encodes the snapshots.
        locate: Names the location of a run.
        backend: Waits for the writer thread.
    """

    def __init__(
        self,
        client: StoreClient,
        store: StorePlace,
        codec: Codec,
        locate: Callable[[str | None], str],
        backend: Backend,
    ) -> None:
        self._client, self._store = client, store
        self._codec, self._locate, self._backend = codec, locate, backend

    async def insert(self, common: Header, runs: Sequence[tuple[str, dict[str, Any]]]) -> Inserted:
        """Do as `WholeStorePort.insert_runs`."""
        results: Inserted = [None] * len(runs)
        rows: dict[int, QueuedRow] = {}
        size, headers = 0, NewHeaders(common)
        columns = self._columns(headers.common)
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
            rows[index] = QueuedRow(self._store.text(run_id), header.written_at, footer, payload)
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
        encode = partial(encode_snapshot, self._codec, self._store)
        return await self._backend.run(encode, header, state, location)

    def _columns(self, header: Header) -> QueuedColumns:
        return QueuedColumns(
            flow=self._store.text(header.flow),
            position=header.position,
            step=header.next_step,
            sequence=header.sequence,
            status=header.status,
            number=header.number,
            due=due_column(header),
        )

    async def _insert(
        self, columns: QueuedColumns, rows: dict[int, QueuedRow], results: Inserted
    ) -> None:
        """Insert rows by their index, and set the result of each row that is not stored."""
        if not rows:
            return
        indexes, backend, inserted = list(rows), self._backend, list(rows.values())

        def insert(statements: WritingStatements) -> set[int]:
            return statements.insert_queued(columns, inserted)

        # More rows may take several statements, which need a transaction around them.
        of_one_statement = len(rows) if len(rows) <= MOST_REQUESTS else 0
        is_due = columns.due is None or columns.due <= time.time()
        notice = queue_notice(columns.flow) if is_due else ""
        request = Execute(insert, of_one_statement, notice)
        try:
            left: set[int] = await backend.wait_for(self._client.ask(request, backend.loop))
        except CheckpointError as error:
            for index in indexes:
                results[index] = copy.copy(error)  # A caller may add notes to it.
            return
        for number in left:
            results[indexes[number]] = None
