"""The run store on a handler of snapshots."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.start_record import (
    ClaimedStart,
    is_needed,
    is_shown_running,
    next_start,
)
from aiocheckpoint._snapshot.header_json import HeaderEncoder
from aiocheckpoint._snapshot.pickling.serializer import NotSmallError
from aiocheckpoint._snapshot.progress_record import encode_progress
from aiocheckpoint.errors import (
    CheckpointError,
    CorruptSnapshotError,
    NotDurableError,
    StorageError,
    UntrustedSnapshotError,
)
from aiocheckpoint.handlers._run_store import FoundRun
from aiocheckpoint.handlers._start_port import has_noted_draining
from aiocheckpoint.handlers._stored_changes import (
    replace_header,
    settle_ending,
    settle_left_ending,
)
from aiocheckpoint.handlers._stored_progress import log_unstored, stored_progress

if TYPE_CHECKING:
    from asyncio import CancelledError
    from collections.abc import Callable, Coroutine

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint._model.given_state import Sameness
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.progress_record import ProgressRecord
    from aiocheckpoint._model.start_record import Loss
    from aiocheckpoint._snapshot.codec import EncodedSnapshot
    from aiocheckpoint._snapshot.target import SnapshotTarget
    from aiocheckpoint.handlers._port import SnapshotPort
    from aiocheckpoint.handlers._run_store import FirstWrite
    from aiocheckpoint.handlers._step_transactions import StepTransactions

__all__ = ["SnapshotRunStore"]


class SnapshotRunStore:
    """The run store on a handler of snapshots.

    Small states of plain values are encoded on the event loop, which is faster than a thread hop.
    Other states are encoded in the thread that writes them.
    """

    def __init__(self, handler: SnapshotPort, run_id: str | None, backend: Backend) -> None:
        self.location = handler.locate(run_id)
        self.header: Header | None = None
        self.skipped: CheckpointError | None = None
        self.first_write: FirstWrite | None = None
        self.keeps_cancellation = False
        self.cancellation: CancelledError | None = None
        self.start: ClaimedStart | None = None
        self.progress: ProgressRecord | None = None
        self.writes_async = False
        self.port: SnapshotPort | None = handler
        self._handler = handler
        self.run_id = run_id
        self._lock = handler.lock(run_id)
        self._may_hold_lock = False
        self._backend = backend
        self._is_refused = False
        self._is_small = not handler.codec.verify
        self._encode = HeaderEncoder().encode

    @property
    def transactions(self) -> StepTransactions | None:
        return None

    def prepare_first_snapshot(
        self,
        make: Callable[[], tuple[Header, dict[str, Any]] | None],
        *,
        is_likely_stored: bool,
    ) -> None:
        """Do nothing: the lock of a file stores no snapshot."""

    async def acquire(self) -> None:
        await self._backend.run(self._acquire)

    def take_back_start(self) -> None:
        self._is_refused = True

    async def release(self) -> CancelledError | None:
        if not self._may_hold_lock:  # It was cancelled before a thread asked for the lock.
            return None
        return await self._backend.run_shielded(self._release_and_look, if_stalled="leave")

    def release_nowait(self) -> None:
        self._release()

    def _release(self) -> None:
        try:
            if self._lock.held:
                with suppress(CheckpointError):  # Counts of starts matter less than the release.
                    self._settle_start()
        finally:
            self._lock.release()

    def _release_and_look(self) -> None:
        self._release()
        self._settle_left_ending()

    def _settle_ending(self) -> None:
        """Terminate a run whose end was asked for, and whose owner has not seen that."""
        ended = settle_ending(self._handler, self.run_id, self._lock)
        self.header = ended or self.header

    def _settle_left_ending(self) -> None:
        """Terminate the run if its end was asked for, and nobody saw that before the release."""
        with suppress(CheckpointError):  # The next claim of the run does it then.
            settle_left_ending(self._handler, self.run_id, self._lock)

    def _acquire(self) -> None:
        self._may_hold_lock = True
        self._lock.acquire()

    # Reads go through `run`, not `read`: they run under the run's lock, and nothing of a run may
    # continue after its end. `find` runs under no lock.
    async def read_header(self) -> Header | None:
        return await self._backend.run(self._read_and_record_start)

    async def history(self) -> list[Header]:
        return await self._backend.run(self._read_history)

    async def state(self, of: Header | None = None) -> dict[str, Any]:
        return await self._backend.run(self._load, of)

    async def find(self, wanted: Callable[[Header], bool]) -> FoundRun | None:
        return await self._backend.read(self._find_unlocked, wanted)

    async def compare(self, header: Header, state: dict[str, Any]) -> Sameness:
        codec = self._handler.codec
        if header.initial_digest is None or codec.is_small(state):
            return codec.compare(header, state)
        return await self._backend.run(codec.compare, header, state)

    def write(
        self,
        header: Header,
        state: dict[str, Any],
        step: str | None,
        *,
        drops_progress: bool = False,
    ) -> Coroutine[Any, Any, int]:
        snapshot = self.encode_small(header, state)
        if snapshot is None:
            write_to = partial(self._handler.codec.write, header, state, step, encode=self._encode)
        else:
            write_to = partial(_write_encoded, snapshot)
        replace = self._replace_and_drop if drops_progress else self._replace
        return self._backend.run(replace, write_to)

    def encode_small(self, header: Header, state: dict[str, Any]) -> EncodedSnapshot | None:
        """Encode a small state. For any other, give None, and try no more in this run."""
        if not self._is_small:
            return None
        try:
            return self._handler.codec.encode_small(header, state, self._encode)
        except NotSmallError:
            self._is_small = False
            return None

    def update_header(
        self, change: Callable[[Header], Header], progress: ProgressRecord | None = None
    ) -> bool:
        with self._handler.stored(self.run_id) as stored:
            if stored is None:  # Another program deleted it.
                self.header = None
                return False
            # The store is read again: Ctrl-C may have come between a write and `self.header`.
            self.header, changed = stored.header, change(stored.header)
            is_same = changed is stored.header
            keep = self._keep_alone if is_same else self._keep_before_header
            keeps = progress is not None and keep(progress)
            if not is_same:
                try:
                    self.header = replace_header(
                        self._handler, self.run_id, stored, changed, lock=self._lock
                    )
                except NotDurableError:
                    self.header = changed  # The snapshot is in place.
                    raise
            return keeps

    def _keep_before_header(self, record: ProgressRecord) -> bool:
        """Store a record of progress before the header, which matters more. Whether it is stored.

        Args:
            record: The record.
        """
        return self._keep_alone(record)

    def _keep_alone(self, record: ProgressRecord) -> bool:
        """Store a record of progress. Whether it is stored."""
        try:
            pending = self.begin_progress(record)
            if pending is not None:
                pending.wait()
        except Exception as error:  # noqa: BLE001 - the outcome of the run matters more
            log_unstored(record, error)
            return False
        return True

    def begin_progress(self, record: ProgressRecord) -> PendingResult[None] | None:
        encoded = encode_progress(record, self._handler.codec.signer)
        self._handler.write_progress(self.run_id, encoded, lock=self._lock)
        return None

    def drop_progress(self) -> None:
        self._handler.write_progress(self.run_id, None, lock=self._lock)

    async def remove(self) -> None:
        await self._backend.run(self._remove)

    def _remove(self) -> None:
        self._handler.remove(self.run_id, lock=self._lock)

    def _find_unlocked(self, wanted: Callable[[Header], bool]) -> FoundRun | None:
        with self._handler.stored(self.run_id) as stored:
            if stored is None:
                return None
            return FoundRun(stored.header, stored.state() if wanted(stored.header) else None)

    def _read_and_record_start(self) -> Header | None:
        with self._handler.stored(self.run_id) as stored:
            if stored is not None:
                self.header, self.skipped = stored.header, stored.skipped
        if self._lock.held:  # A plan reads without it.
            self._record_start()
            self._find_progress()
        else:
            self._find_start()
        return self.header

    def _find_start(self) -> None:
        """Read the record of the last start of a run, for a plan, which claims nothing."""
        header = self.header
        if header is None or header.finished:
            return
        record = self._handler.ownership(self.run_id).record
        if record is not None:
            self.start = ClaimedStart(record, is_shown_running(header, record))

    def _find_progress(self) -> None:
        """Read the record of the progress of a run that goes on."""
        if self.header is not None and not self.header.finished:
            self.progress = stored_progress(self._handler, self.run_id, self._lock)

    def _record_start(self) -> None:
        """Record the start of a run that goes on. A store may do so when the lock is taken.

        If the end of the run was asked for, it is terminated before.
        """
        self._settle_ending()
        header, handler = self.header, self._handler
        is_inherited = getattr(self._lock, "inherited", False)
        if header is None or header.finished:
            if is_inherited:  # The last owner was killed after the run's end.
                handler.write_start(self.run_id, None, lock=self._lock)
            return
        before = handler.read_start(self.run_id)
        loss: Loss | None = None
        if is_inherited:
            loss = "drained" if before is not None and before.drains else "killed"
        record = next_start(header, before, loss)
        self.start = ClaimedStart(record, is_shown_running(header, before))
        handler.write_start(self.run_id, record, lock=self._lock)

    def _settle_start(self) -> None:
        """Keep the record of the start that ends now where it says more than the header."""
        header, handler = self.header, self._handler
        record = None if self.start is None else self.start.record
        if has_noted_draining(handler):
            record = handler.read_start(self.run_id)
        if record is None:
            return
        if header is None or header.finished:
            handler.write_start(self.run_id, None, lock=self._lock)
            return
        settled = record._replace(drains=False)
        if self._is_refused and record.sequence == header.sequence:
            was_running = self.start is not None and self.start.was_running
            settled = settled.taken_back(was_running=was_running)
        if not is_needed(header, settled):
            handler.write_start(self.run_id, None, lock=self._lock)
        elif settled != record:
            handler.write_start(self.run_id, settled, lock=self._lock)

    def _read_history(self) -> list[Header]:
        headers: list[Header] = []
        for number, sequence in self._handler.kept(self.run_id):
            if self.header is not None and number == self.header.number:
                with (
                    suppress(CorruptSnapshotError, UntrustedSnapshotError),
                    self._handler.stored(self.run_id, (number, sequence)) as stored,
                ):
                    headers += [] if stored is None else [stored.header]
        return headers

    def _load(self, of: Header | None) -> dict[str, Any]:
        kept = None if of is None else (of.number, of.sequence)
        planned = self.header if of is None else of
        with self._handler.stored(self.run_id, kept) as stored:
            # The plan is valid only for the snapshot that it was made from.
            if stored is None or planned is None or _marks(stored.header) != _marks(planned):
                self.header = None if stored is None else self.header
                raise StorageError(
                    self.location,
                    f"another program changed {self.location} after this run had read it, so no "
                    "step was run. Run again, and do not write or delete it meanwhile.",
                )
            return stored.state()

    def _replace(self, write_to: Callable[[SnapshotTarget], Header]) -> int:
        # Set in the thread: a cancelled wait must not lose the header of a written snapshot.
        replace = self._handler.replace
        self.header, length = replace(self.run_id, write_to, None, lock=self._lock)
        return length

    def _replace_and_drop(self, write_to: Callable[[SnapshotTarget], Header]) -> int:
        """Replace the snapshot behind a step, and delete the record of the step's progress."""
        length = self._replace(write_to)
        with suppress(CheckpointError):  # One that stays is passed over, as its step has ended.
            self.drop_progress()
        return length


def _write_encoded(snapshot: EncodedSnapshot, target: SnapshotTarget) -> Header:
    header, payload, footer = snapshot
    target.write(payload + footer)
    return header


def _marks(header: Header) -> tuple[object, ...]:
    """The values by which two snapshots of a run differ."""
    return header.number, header.sequence, header.position, header.status, header.written_at
