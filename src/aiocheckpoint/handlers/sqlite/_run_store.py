"""The run store of a run in a database: no thread hop, one wait for each commit."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._snapshot.codec import EncodedSnapshot
from aiocheckpoint._snapshot.footer import split
from aiocheckpoint._snapshot.target import MemoryTarget
from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._run_store import FirstWrite, SnapshotRunStore

if TYPE_CHECKING:
    from asyncio import CancelledError
    from collections.abc import Callable

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.header import Header
    from aiocheckpoint.handlers._port import SnapshotPort
    from aiocheckpoint.handlers.sqlite._lease import Lease

__all__ = ["SqliteRunStore", "split_snapshot"]

LARGEST_BYTES = 900_000_000
"""SQLite takes values of up to 1,000,000,000 bytes (https://www.sqlite.org/limits.html)."""


class SqliteRunStore(SnapshotRunStore):
    """The snapshots of one run, owned by a lease.

    Args:
        handler: The handler of the database. Its locks are leases.
        run_id: The run, or None.
        backend: Waits for the writer thread.
    """

    header: Header | None
    first_write: FirstWrite | None

    def __init__(self, handler: SnapshotPort, run_id: str | None, backend: Backend) -> None:
        super().__init__(handler, run_id, backend)
        self._lease = cast("Lease", self._lock)
        self._start: EncodedSnapshot | None = None

    def prepare_first_snapshot(
        self, make: Callable[[], tuple[Header, dict[str, Any]] | None]
    ) -> None:
        if self._is_small and self._lease.record.keep == 1:
            prepared = make()
            self._start = None if prepared is None else self.encode_small(*prepared)

    async def acquire(self) -> None:
        lease, asked = self._lease, time.perf_counter()
        try:
            await self._backend.wait_for(lease.claim(self._backend.loop, self._start))
        finally:
            if lease.record.inserted and self._start is not None:
                self.header, payload, footer = self._start
                size = len(payload) + len(footer)
                self.first_write = FirstWrite(size, time.perf_counter() - asked)
                self._start = None  # Its bytes would stay in memory as long as the run.

    async def release(self) -> CancelledError | None:
        if self._lease.held:
            return await super().release()
        self._lease.release()  # Takes no time for a lease that is not held, or still queued.
        return None

    def release_nowait(self) -> None:
        with suppress(StorageError):  # At the end of the interpreter no thread can be started.
            super().release_nowait()

    async def read_header(self) -> Header | None:
        lease, handler = self._lease, self._handler
        found = lease.record.footer
        if not lease.held or lease.record.keep != 1 or found is None:
            return await super().read_header()
        if found:
            header = handler.codec.peek(found, lease.record.payload_length, self.location)
            handler.check_run(header, self._run_id, self.location)
            self.header = header
        return self.header

    async def write(self, header: Header, state: dict[str, Any], step: str | None) -> int:
        snapshot = self.encode_small(header, state)
        if snapshot is None:
            snapshot = await self._backend.run(self._encode_snapshot, header, state, step)
        written, payload, footer = snapshot
        pending = self._lease.save(written, payload, footer, self._backend.loop)
        try:
            await self._backend.wait_for(pending)
        finally:
            if pending.ended and pending.error is None:
                self.header = written
        return len(payload) + len(footer)

    def _encode_snapshot(
        self, header: Header, state: dict[str, Any], step: str | None
    ) -> EncodedSnapshot:
        memory = MemoryTarget()
        written = self._handler.codec.write(header, state, step, memory, self._encode)
        return EncodedSnapshot(written, *split_snapshot(memory, self.location))


def split_snapshot(snapshot: MemoryTarget, location: str) -> tuple[bytes, bytes]:
    """Split a snapshot into payload and footer.

    Raises:
        StorageError: The payload is larger than SQLite can hold.
    """
    payload, footer = split(snapshot.getvalue())
    if len(payload) > LARGEST_BYTES:
        raise StorageError(
            location,
            f"the snapshot has {len(payload)} bytes, and SQLite holds {LARGEST_BYTES}: use "
            "the handler 'local', or keep large values in `data`, with a loader and a saver.",
        )
    return payload, footer
