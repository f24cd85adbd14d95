"""The run store of a run in a leased store: no thread hop, one wait for each commit."""

from __future__ import annotations

import time
from asyncio import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._concurrency.threads import AbandonedCallError
from aiocheckpoint._model.start_record import ClaimedStart
from aiocheckpoint._snapshot.header_json import encode_header
from aiocheckpoint._snapshot.progress_record import encode_progress
from aiocheckpoint._snapshot.target import MemoryTarget
from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._run_store import FirstWrite, FoundRun
from aiocheckpoint.handlers._snapshot_run_store import SnapshotRunStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.progress_record import ProgressRecord
    from aiocheckpoint._snapshot.codec import Codec, EncodedSnapshot
    from aiocheckpoint.handlers._port import SnapshotPort
    from aiocheckpoint.handlers.leased._lease import Lease
    from aiocheckpoint.handlers.leased._store import StorePlace

__all__ = ["LeasedRunStore", "encode_snapshot", "split_snapshot"]


class LeasedRunStore(SnapshotRunStore):
    """The snapshots of one run, owned by a lease.

    Args:
        handler: The handler of the store. Its locks are leases.
        store: The store.
        run_id: The run, or None.
        backend: Waits for the writer thread.
        newest_header: Reads the header of a run alone.
    """

    header: Header | None
    first_write: FirstWrite | None
    start: ClaimedStart | None
    cancellation: CancelledError | None

    def __init__(
        self,
        handler: SnapshotPort,
        store: StorePlace,
        run_id: str | None,
        backend: Backend,
        newest_header: Callable[[str | None], Header | None],
    ) -> None:
        super().__init__(handler, run_id, backend)
        self._store = store
        self._newest_header = newest_header
        self._lease = cast("Lease", self._lock)
        self._first_snapshot: EncodedSnapshot | None = None

    def prepare_first_snapshot(
        self,
        make: Callable[[], tuple[Header, dict[str, Any]] | None],
        *,
        is_likely_stored: bool,
    ) -> None:
        self._lease.record.is_likely_stored |= is_likely_stored
        if self._is_small and self._lease.record.keep == 1:
            prepared = make()
            self._first_snapshot = None if prepared is None else self.encode_small(*prepared)

    async def acquire(self) -> None:
        await self._claim()
        if self._lease.record.ending:  # Nobody has seen the request, or 0.5 has ended the run.
            await self._backend.run(self._settle_ending)
            self._lease.record.ending = False
            if not self._lease.held:
                await self._claim()

    async def _claim(self) -> None:
        lease, asked = self._lease, time.perf_counter()
        self._may_hold_lock = True
        try:
            await self._backend.wait_for(
                lease.claim(self._backend.loop, self._first_snapshot, runs=True)
            )
        except CancelledError as cancellation:
            is_abandoned = isinstance(cancellation, AbandonedCallError)
            if is_abandoned or not (self.keeps_cancellation and lease.held):
                self.take_back_start()
                raise
            self.cancellation = cancellation
        finally:
            if lease.record.inserted and self._first_snapshot is not None:
                self.header, payload, footer = self._first_snapshot
                size = len(payload) + len(footer)
                self.first_write = FirstWrite(size, time.perf_counter() - asked)
                self._first_snapshot = None  # Its bytes would stay in memory as long as the run.

    def take_back_start(self) -> None:
        self._lease.record.is_refused = True

    def _record_start(self) -> None:
        """Note the start that the claim has recorded."""
        record = self._lease.record
        if record.start is not None:
            self.start = ClaimedStart(record.start, record.status_before == "running")

    def _settle_start(self) -> None:
        """Do nothing: the statement of the release does it."""

    async def release(self) -> CancelledError | None:
        if self._lease.held:
            return await super().release()
        self._lease.release()  # Takes no time for a lease that is not held, or still queued.
        if self._lease.record.ending:
            return await self._backend.run_shielded(self._settle_left_ending, if_stalled="leave")
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
            handler.check_run(header, self.run_id, self.location)
            self.header = header
            self._record_start()
            if lease.record.has_progress:
                await self._backend.run(self._find_progress)
        return self.header

    def _find_progress(self) -> None:
        if self._lease.record.has_progress:
            super()._find_progress()

    def _find_unlocked(self, wanted: Callable[[Header], bool]) -> FoundRun | None:
        # The state of an unfinished run may be large, and is not asked for.
        if self._lease.record.keep == 1:
            header = self._newest_header(self.run_id)
            self._lease.record.is_likely_stored |= header is not None
            if header is None or not wanted(header):
                return None if header is None else FoundRun(header, None)
        return super()._find_unlocked(wanted)

    async def write(
        self,
        header: Header,
        state: dict[str, Any],
        step: str | None,
        *,
        drops_progress: bool = False,
    ) -> int:
        snapshot = self.encode_small(header, state)
        if snapshot is None:
            snapshot = await self._backend.run(self._encode_snapshot, header, state, step)
        written, payload, footer = snapshot
        self._lease.record.progress = b"" if drops_progress else None
        pending = self._lease.save(written, payload, footer, self._backend.loop)
        try:
            await self._backend.wait_for(pending)
        finally:
            if pending.ended and pending.error is None:
                self.header = written
        return len(payload) + len(footer)

    def _keep_before_header(self, record: ProgressRecord) -> bool:
        """Let the transaction that stores the header store the record as well."""
        self._lease.record.progress = encode_progress(record, self._handler.codec.signer)
        return True

    def begin_progress(self, record: ProgressRecord) -> PendingResult[None]:
        return self._lease.save_progress(encode_progress(record, self._handler.codec.signer))

    def _encode_snapshot(
        self, header: Header, state: dict[str, Any], step: str | None
    ) -> EncodedSnapshot:
        codec, location = self._handler.codec, self.location
        return encode_snapshot(
            codec, self._store, header, state, location, step=step, encode=self._encode
        )


def encode_snapshot(
    codec: Codec,
    store: StorePlace,
    header: Header,
    state: dict[str, Any],
    location: str,
    *,
    step: str | None = None,
    encode: Callable[[Header], bytes] = encode_header,
) -> EncodedSnapshot:
    """Make the snapshot of any state in memory.

    Raises:
        UnserializableStateError: See `Codec.write`.
        StorageError: The payload is larger than the store can hold.
    """
    memory = MemoryTarget()
    written = codec.write(header, state, step, memory, encode)
    return written, *split_snapshot(memory, store, location)


def split_snapshot(snapshot: MemoryTarget, store: StorePlace, location: str) -> tuple[bytes, bytes]:
    """Split a snapshot into payload and footer.

    Raises:
        StorageError: The payload is larger than the store can hold.
    """
    payload, footer = snapshot.split()
    if len(payload) > store.largest_payload:
        raise StorageError(
            location,
            f"the snapshot has {len(payload)} bytes, and {store.kind} holds "
            f"{store.largest_payload}: use "
            "the handler 'local', or keep large values in `data`, with a loader and a saver.",
        )
    return payload, footer
