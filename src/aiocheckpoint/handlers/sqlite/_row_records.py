"""What is kept beside the snapshot of a run in a database: ending and progress, and the drain."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aiocheckpoint.errors import LeaseLostError
from aiocheckpoint.handlers._base import StateHandler
from aiocheckpoint.handlers._files.databases import file_identity
from aiocheckpoint.handlers._identifiers import checked_run_id
from aiocheckpoint.handlers.sqlite._ending_column import (
    clear_ending,
    endings_of_flow,
    read_ending,
    write_ending,
)
from aiocheckpoint.handlers.sqlite._lease import Lease
from aiocheckpoint.handlers.sqlite._progress_table import read_progress
from aiocheckpoint.handlers.sqlite._requests import sql_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiocheckpoint.handlers._locks import Lock
    from aiocheckpoint.handlers.sqlite._database import Database

__all__ = ["RowRecords"]


class RowRecords(StateHandler):
    """The methods of `SqliteStateHandler` for what it keeps of a run beside its snapshot."""

    _path: str
    _flow_key: str | bytes
    _database: Database

    def write_ending(self, run_id: str | None, reason: str) -> None:
        """Store the request to terminate a run in its row."""
        self._database.call(partial(write_ending, self._key(run_id), reason))

    def clear_ending(self, run_id: str | None, lock: Lock) -> None:
        """Delete the request to terminate a run, if the lease is still held."""
        lease = self._lease_of(run_id, lock)
        if lease.held:
            self._database.call(partial(clear_ending, lease.record))

    def read_ending(
        self,
        run_id: str | None,
        *,
        lock: Lock | None = None,  # noqa: ARG002 - the row is found by its key
    ) -> str | None:
        """Read the reason of the request to terminate a run."""
        with self._database.reading() as connection:
            return read_ending(self._key(run_id), connection)

    def endings(self, run_ids: Iterable[str | None]) -> dict[str | None, str]:
        """Read the requests of all runs of the flow by one statement."""
        if not self._database.owner_id:  # The file was closed, and no run is in progress.
            return {}
        with self._database.reading() as connection:
            found = endings_of_flow(self._flow_key, connection)
        keys = ((run_id, self._key(run_id)[1]) for run_id in run_ids if found)
        return {run_id: found[key] for run_id, key in keys if key in found}

    def note_draining(self, run_ids: Iterable[str | None]) -> None:
        """Note in the row of this owner, one for all its runs, that it has begun to drain."""
        del run_ids
        self._database.note_draining()

    def read_progress(
        self,
        run_id: str | None = None,
        *,
        lock: Lock | None = None,  # noqa: ARG002 - the row is found by its key
    ) -> bytes | None:
        """Read the record of a run's progress."""
        if file_identity(self._path) is None:
            return None
        with self._database.reading() as connection:
            return read_progress(self._key(run_id), connection)

    def write_progress(self, run_id: str | None, record: bytes | None, *, lock: Lock) -> None:
        """Store the record of a run's progress, or delete it, if the lease is still held."""
        self._lease_of(run_id, lock).save_progress(record or b"").wait()

    def _lease_of(self, run_id: str | None, lock: Lock) -> Lease:
        """Check that `lock` is the lease of this run, and return it."""
        if not isinstance(lock, Lease) or lock.record.key != self._key(run_id):
            raise LeaseLostError(self.locate(run_id))
        return lock

    def _key(self, run_id: str | None) -> tuple[str | bytes, str | bytes]:
        return self._flow_key, sql_text(checked_run_id(run_id) or "")
