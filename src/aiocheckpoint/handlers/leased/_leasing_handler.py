"""The part of a handler that all stores of leases share: what it does through the writer."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aiocheckpoint._snapshot.target import MemoryTarget
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import LeaseLostError
from aiocheckpoint.handlers._base import StateHandler
from aiocheckpoint.handlers._ending_port import encode_reason
from aiocheckpoint.handlers._identifiers import checked_run_id
from aiocheckpoint.handlers._locations import format_location
from aiocheckpoint.handlers.leased._inserting import Inserter
from aiocheckpoint.handlers.leased._lease import Lease
from aiocheckpoint.handlers.leased._listener import ending_notice
from aiocheckpoint.handlers.leased._run_store import LeasedRunStore, split_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.target import SnapshotTarget
    from aiocheckpoint.errors import CheckpointError
    from aiocheckpoint.handlers._locks import Lock
    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers._retention import Keep
    from aiocheckpoint.handlers._run_store import RunStore
    from aiocheckpoint.handlers.leased._client import StoreClient
    from aiocheckpoint.handlers.leased._requests import Key
    from aiocheckpoint.handlers.leased._store import StorePlace
    from aiocheckpoint.handlers.leased._writing import WritingStatements

__all__ = ["LeasingHandler"]


_Client = TypeVar("_Client", bound="StoreClient")
_OF_THIS_PROCESS = "_client", "answers"
"""The attributes of a handler that are not pickled."""


class LeasingHandler(StateHandler, Generic[_Client]):
    """The methods that claim, write and release, for SQLite and for `LeasedStateHandler`.

    A subclass reads.

    Attributes:
        keep: How many snapshots of each run are kept.
    """

    keep: Keep
    _store: StorePlace
    _client: _Client

    @abstractmethod
    def _open_client(self) -> _Client:
        """Give the client of the store, which all handlers of the store in this process share."""

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the place and the options, and no connection."""
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name not in _OF_THIS_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._client = self._open_client()

    def locate(self, run_id: str | None = None) -> str:
        """The store, the flow and the run, for messages."""
        return format_location(self._store.location, self.flow, checked_run_id(run_id))

    def lock(self, run_id: str | None = None) -> Lease:
        """The lease of a run, not yet taken."""
        return Lease(self._client, self._key(run_id), self.locate(run_id), self.keep)

    def run_store(self, run_id: str | None, backend: Backend) -> RunStore:
        """Make the run store of a run, which the engine uses."""
        return LeasedRunStore(self, self._store, run_id, backend, self.newest_header)

    def newest_header(self, run_id: str | None = None) -> Header | None:
        """Read the header of a run's newest snapshot, and nothing of its state.

        Raises:
            StorageError, CorruptSnapshotError, UntrustedSnapshotError, IncompatibleSnapshotError:
                As `header`.
        """
        found = self._newest_footer(self._key(run_id))
        if found is None:
            return None
        footer, payload_length = found
        header = self.codec.peek(footer, payload_length, self.locate(run_id))
        self.check_run(header, run_id, self.locate(run_id))
        return header

    @abstractmethod
    def _newest_footer(self, key: Key) -> tuple[bytes, int] | None:
        """Read the footer of a run's newest snapshot and the length of its payload, or None."""

    async def insert_runs(
        self, common: Header, runs: Sequence[tuple[str, dict[str, Any]]], backend: Backend
    ) -> list[Header | CheckpointError | None]:
        """Store first snapshots of runs without a row, all in one statement."""
        inserter = Inserter(self._client, self._store, self.codec, self.locate, backend)
        return await inserter.insert(common, runs)

    def replace(
        self,
        run_id: str | None,
        write_to: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Replace a run's snapshot by the bytes that `write_to` writes.

        Raises:
            StorageError: It cannot be written and is as it was.
            LeaseLostError: `lock` is not held, or was lost.
            RunInProgressError: No `lock` is given, and another owner has it.
        """
        with self.hold_or_check(run_id, lock) as held:
            lease, memory = self._lease_of(run_id, held), MemoryTarget()
            header = write_to(memory)
            payload, footer = split_snapshot(memory, self._store, lease.record.location)
            lease.save(header, payload, footer, None, amends).wait()
            return header, len(payload) + len(footer)

    @front_door
    def remove(self, run_id: str | None = None, *, lock: Lock | None = None) -> None:
        """Delete a run's row and its retained snapshots, if there are any.

        Raises:
            StorageError: They cannot be deleted.
            LeaseLostError: `lock` is not held, or was lost.
            RunInProgressError: No `lock` is given, and another owner has it.
        """
        with self.hold_or_check(run_id, lock) as held:
            record = self._lease_of(run_id, held).record
            if not self._client.call(lambda statements: statements.delete(record)):
                raise LeaseLostError(record.location)

    def write_ending(self, run_id: str | None, reason: str) -> None:
        """Store the request to terminate a run in its row."""
        key, request = self._key(run_id), encode_reason(reason)
        notice = ending_notice(self._flow_key)
        self._client.call(lambda statements: statements.write_ending(key, request), notice)

    def clear_ending(self, run_id: str | None, lock: Lock) -> None:
        """Delete the request to terminate a run, if the lease is still held."""
        lease = self._lease_of(run_id, lock)
        if lease.held:
            self._client.call(lambda statements: statements.clear_ending(lease.record))

    def write_progress(self, run_id: str | None, record: bytes | None, *, lock: Lock) -> None:
        """Store the record of a run's progress, or delete it, if the lease is still held."""
        self._lease_of(run_id, lock).save_progress(record or b"").wait()

    def _prune_rows(self, query: Query, *, unsigned: bool) -> int | None:
        """Delete runs by one statement for many. None where the store cannot."""
        flow, count = self._flow_key, 0

        def delete_some(statements: WritingStatements) -> int | None:
            return statements.prune_rows(flow, query, unsigned=unsigned)

        while more := self._client.call(delete_some):
            count += more
        return more if more is None else count

    def note_draining(self, run_ids: Iterable[str | None]) -> None:
        """Note in the row of this owner, one for all its runs, that it has begun to drain."""
        del run_ids
        self._client.note_draining()

    @front_door
    def close(self) -> None:
        """Release the leases of all runs in progress, and close the connections of the store.

        The next use connects anew. The end of the process does the same. All handlers of one store
        share its connections.
        """
        self._client.close()

    def close_unused(self) -> None:
        """Close the store as `close` does, unless this process runs a run that is stored in it."""
        self._client.close(if_unused=True)

    def _lease_of(self, run_id: str | None, lock: Lock) -> Lease:
        """Check that `lock` is the lease of this run, and return it."""
        if not isinstance(lock, Lease) or lock.record.key != self._key(run_id):
            raise LeaseLostError(self.locate(run_id))
        return lock

    def _key(self, run_id: str | None) -> Key:
        return self._flow_key, self._store.text(checked_run_id(run_id) or "")

    @property
    def _flow_key(self) -> str | bytes:
        return self._store.text(self.flow)
