"""One run's place in a database, as the engine uses it: nothing waits but for the commit."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._snapshot.target import MemoryTarget
from aiocheckpoint.handlers._run_store import FirstWrite, SnapshotRunStore

if TYPE_CHECKING:
    from asyncio import CancelledError
    from collections.abc import Callable

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.codec import Snapshot
    from aiocheckpoint.handlers.sqlite import SqliteStateHandler
    from aiocheckpoint.handlers.sqlite._lease import Lease

__all__ = ["SqliteRunStore"]


class SqliteRunStore(SnapshotRunStore):
    """A run's place that is owned by a lease."""

    header: Header | None
    first_write: FirstWrite | None

    def __init__(self, handler: SqliteStateHandler, run_id: str | None, backend: Backend) -> None:
        super().__init__(handler, run_id, backend)
        self._database = handler
        self._lease = cast("Lease", self._lock)
        self._start: Snapshot | None = None

    def prepare_first_snapshot(
        self, make: Callable[[], tuple[Header, dict[str, Any]] | None]
    ) -> None:
        if self._is_quick and self._database.keep == 1:
            prepared = make()
            self._start = None if prepared is None else self.encode_small(*prepared)

    async def acquire(self) -> None:
        lease, asked = self._lease, time.perf_counter()
        try:
            await self._backend.wait_for(lease.claim(self._backend.loop, self._start))
        finally:
            if lease.started and self._start is not None:
                self.header, payload, footer = self._start
                size = len(payload) + len(footer)
                self.first_write = FirstWrite(size, time.perf_counter() - asked)
                self._start = None  # whose bytes would wait as long as the run does

    async def release(self) -> CancelledError | None:
        if self._lease.held:
            return await super().release()
        self._lease.release()  # which takes no time where it is not held, or only being taken
        return None

    def release_nowait(self) -> None:
        with suppress(RuntimeError):  # at the end of the interpreter no thread can be started
            super().release_nowait()

    async def read_header(self) -> Header | None:
        lease, handler = self._lease, self._database
        if not lease.held or handler.keep != 1 or lease.footer is None:
            return await super().read_header()
        if lease.footer:
            header = handler.codec.peek(lease.footer, lease.payload_length, self.location)
            handler.check_run(header, self._run_id, self.location)
            self.header = header
        return self.header

    async def write(self, header: Header, state: dict[str, Any], step: str | None) -> int:
        snapshot = self.encode_small(header, state)
        if snapshot is None:
            snapshot = await self._backend.run(self._made, header, state, step)
        written, payload, footer = snapshot
        job = self._lease.save(written, payload, footer, self._backend.loop)
        try:
            await self._backend.wait_for(job)
        finally:
            if job.ended and job.error is None:
                self.header = written
        return len(payload) + len(footer)

    def _made(self, header: Header, state: dict[str, Any], step: str | None) -> Snapshot:
        memory = MemoryTarget()
        written = self._database.codec.write(header, state, step, memory, self._encode)
        return written, *self._database.cut(memory, self._run_id)
