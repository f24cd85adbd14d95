"""The run store: the snapshots of one run, as the engine reads and writes them."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from aiocheckpoint._snapshot.header_json import HeaderEncoder
from aiocheckpoint._snapshot.pickling.serializer import NotSmallError
from aiocheckpoint.errors import (
    CorruptSnapshotError,
    NotDurableError,
    StorageError,
    UntrustedSnapshotError,
)

if TYPE_CHECKING:
    from asyncio import CancelledError
    from collections.abc import Callable

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.codec import EncodedSnapshot
    from aiocheckpoint._snapshot.target import SnapshotTarget
    from aiocheckpoint.errors import CheckpointError
    from aiocheckpoint.handlers._port import SnapshotPort

__all__ = ["FirstWrite", "RunStore", "SnapshotRunStore"]


class FirstWrite(NamedTuple):
    """A first snapshot that was stored by the same statement that took the lock.

    Attributes:
        bytes: Size of the snapshot.
        seconds: Time for both.
    """

    bytes: int
    seconds: float


class RunStore(Protocol):
    """The snapshots of one run.

    Attributes:
        location: The store and the run, for messages.
        header: Header of the newest snapshot read or written. None where there is none.
        skipped: Error of the newest snapshot, where an older one is used instead.
        first_write: Set when taking the lock stored the prepared first snapshot.
    """

    location: str
    header: Header | None
    skipped: CheckpointError | None
    first_write: FirstWrite | None

    def prepare_first_snapshot(
        self, make: Callable[[], tuple[Header, dict[str, Any]] | None]
    ) -> None:
        """Prepare the first snapshot of a new run, before the lock is taken."""

    async def acquire(self) -> None:
        """Take the run's lock, or raise RunInProgressError."""

    async def release(self) -> CancelledError | None:
        """Release the lock if it is held, and return a cancellation that came meanwhile."""

    def release_nowait(self) -> None:
        """Release the lock, blocking."""

    async def read_header(self) -> Header | None:
        """Read the header, or give None where nothing is stored."""

    async def history(self) -> list[Header]:
        """Read the headers of the older snapshots of the run, newest first."""
        ...

    async def state(self, of: Header | None = None) -> dict[str, Any]:
        """Load the stored state, or that of a header from `history`."""
        ...

    async def write(self, header: Header, state: dict[str, Any], step: str | None) -> int:
        """Store a snapshot taken after `step`, and give its size in bytes, 0 if unknown."""
        ...

    def update_header(self, change: Callable[[Header], Header]) -> None:
        """Read the stored header, and replace it by the changed one, blocking.

        Nothing is written where `change` gives the same object back, or nothing is stored.
        """

    async def remove(self) -> None:
        """Delete the snapshots."""


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
        self._handler = handler
        self._run_id = run_id
        self._lock = handler.lock(run_id)
        self._backend = backend
        self._is_small = not handler.codec.verify
        self._encode = HeaderEncoder().encode

    def prepare_first_snapshot(
        self, make: Callable[[], tuple[Header, dict[str, Any]] | None]
    ) -> None:
        """Do nothing: the lock of a file stores no snapshot."""

    async def acquire(self) -> None:
        await self._backend.run(self._lock.acquire)

    async def release(self) -> CancelledError | None:
        return await self._backend.run_shielded(self._lock.release)

    def release_nowait(self) -> None:
        self._lock.release()

    # Reads go through `run`, not `read`: they run under the run's lock, and nothing of a run may
    # continue after its end.
    async def read_header(self) -> Header | None:
        return await self._backend.run(self._find)

    async def history(self) -> list[Header]:
        return await self._backend.run(self._read_history)

    async def state(self, of: Header | None = None) -> dict[str, Any]:
        return await self._backend.run(self._load, of)

    async def write(self, header: Header, state: dict[str, Any], step: str | None) -> int:
        snapshot = self.encode_small(header, state)
        if snapshot is None:
            write_to = partial(self._handler.codec.write, header, state, step, encode=self._encode)
        else:
            write_to = partial(_write_encoded, snapshot)
        return await self._backend.run(self._replace, write_to)

    def encode_small(self, header: Header, state: dict[str, Any]) -> EncodedSnapshot | None:
        """Encode a small state. For any other, give None, and try no more in this run."""
        if not self._is_small:
            return None
        try:
            return self._handler.codec.encode_small(header, state, self._encode)
        except NotSmallError:
            self._is_small = False
            return None

    def update_header(self, change: Callable[[Header], Header]) -> None:
        with self._handler.stored(self._run_id) as stored:
            if stored is None:  # Another program deleted it.
                self.header = None
                return
            # The store is read again: Ctrl-C may have come between a write and `self.header`.
            self.header, changed = stored.header, change(stored.header)
            if changed is not stored.header:
                try:
                    self._replace(partial(self._handler.codec.copy, changed, stored), stored.header)
                except NotDurableError:
                    self.header = changed  # The snapshot is in place.
                    raise

    async def remove(self) -> None:
        await self._backend.run(self._remove)

    def _remove(self) -> None:
        self._handler.remove(self._run_id, lock=self._lock)

    def _find(self) -> Header | None:
        with self._handler.stored(self._run_id) as stored:
            if stored is not None:
                self.header, self.skipped = stored.header, stored.skipped
        return self.header

    def _read_history(self) -> list[Header]:
        headers: list[Header] = []
        for number, sequence in self._handler.kept(self._run_id):
            if self.header is not None and number == self.header.number:
                with (
                    suppress(CorruptSnapshotError, UntrustedSnapshotError),
                    self._handler.stored(self._run_id, (number, sequence)) as stored,
                ):
                    headers += [] if stored is None else [stored.header]
        return headers

    def _load(self, of: Header | None) -> dict[str, Any]:
        kept = None if of is None else (of.number, of.sequence)
        planned = self.header if of is None else of
        with self._handler.stored(self._run_id, kept) as stored:
            # The plan is valid only for the snapshot that it was made from.
            if stored is None or planned is None or _marks(stored.header) != _marks(planned):
                raise StorageError(
                    self.location,
                    f"another program changed {self.location} after this run had read it, so no "
                    "step was run. Run again, and do not write or delete it meanwhile.",
                )
            return stored.state()

    def _replace(
        self, write_to: Callable[[SnapshotTarget], Header], amends: Header | None = None
    ) -> int:
        # Set in the thread: a cancelled wait must not lose the header of a written snapshot.
        replace = self._handler.replace
        self.header, length = replace(self._run_id, write_to, amends, lock=self._lock)
        return length


def _write_encoded(snapshot: EncodedSnapshot, target: SnapshotTarget) -> Header:
    target.write(snapshot.payload + snapshot.footer)
    return snapshot.header


def _marks(header: Header) -> tuple[object, ...]:
    """The values by which two snapshots of a run differ."""
    return header.number, header.sequence, header.position, header.status, header.written_at
