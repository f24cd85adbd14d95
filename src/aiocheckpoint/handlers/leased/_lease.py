"""The lease of one run in a store, and the requests made in its name."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from aiocheckpoint.errors import LeaseLostError
from aiocheckpoint.handlers.leased._requests import Claim, Execute, LeaseRecord, Release, Save
from aiocheckpoint.handlers.leased._writer_threads import is_writer

if TYPE_CHECKING:
    import asyncio

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.codec import EncodedSnapshot
    from aiocheckpoint.handlers._retention import Keep
    from aiocheckpoint.handlers.leased._client import StoreClient
    from aiocheckpoint.handlers.leased._requests import Key
    from aiocheckpoint.handlers.leased._writing import WritingStatements

__all__ = ["Lease"]


class Lease:
    """The lease of a run, valid while the run's row holds its token.

    Args:
        client: The store.
        key: Flow and run id as the store has them.
        location: The run, for messages.
        keep: How many snapshots of the run are kept.

    Attributes:
        record: The facts of the lease, which the writer thread updates.
    """

    __slots__ = ("_client", "record")

    def __init__(self, client: StoreClient, key: Key, location: str, keep: Keep) -> None:
        self._client = client
        self.record: LeaseRecord = LeaseRecord(key, location, keep)

    def __repr__(self) -> str:
        return f"<Lease of {self.record.location}, {'held' if self.held else 'not held'}>"

    @property
    def held(self) -> bool:
        """Whether the lease was taken and not released, and its store is still open.

        A forked child holds none.
        """
        return self.record.token != 0 and self.record.owner == self._client.owner_id

    def acquire(self) -> None:
        """Take the lease now.

        Raises:
            RunInProgressError: Another owner has it. The error names that owner.
            StorageError: The store cannot be written.
        """
        if not self.held:
            self.claim(None).wait()

    def claim(
        self,
        loop: asyncio.AbstractEventLoop | None,
        first_snapshot: EncodedSnapshot | None = None,
        *,
        runs: bool = False,
    ) -> PendingResult[None]:
        """Ask for the lease. The result is for `loop`, or for this thread.

        Args:
            loop: The loop, or None.
            first_snapshot: Stored in the same statement where no such run exists yet.
            runs: Whether the run is claimed to be run, which counts as a start of it.
        """
        self.record.begin_claim()
        return self._client.ask(Claim(self.record, first_snapshot, runs), loop)

    def save(
        self,
        header: Header,
        payload: bytes,
        footer: bytes,
        loop: asyncio.AbstractEventLoop | None,
        amends: Header | None = None,
    ) -> PendingResult[None]:
        """Ask for a snapshot to be stored. A snapshot that ends the run releases the lease.

        The record of its progress that `LeaseRecord.progress` has is stored with it.

        Raises:
            LeaseLostError: The lease is not held.
            StorageError: The store itself was moved or deleted since the claim.
        """
        if not self.held:
            reason = self._client.reason_lost(self.record.owner)
            raise copy.copy(reason) if reason else LeaseLostError(self.record.location)
        progress, self.record.progress = self.record.progress, None
        save = Save(self.record, header, payload, footer, amends, progress)
        return self._client.ask(save, loop)

    def note_stored(self, save: Save) -> None:
        """Note that another connection than the writer's has stored a snapshot, and committed it.

        The writer is told of the end of a lease. Its statement finds the row released already.
        """
        token = self.record.token
        self.record.set_saved(save.header)
        if save.ends_run:
            self._client.ask(Release.of(self.record, token), None)

    def save_progress(self, record: bytes) -> PendingResult[None]:
        """Ask for the record of the run's progress to be stored, or to be deleted if it is empty.

        Raises:
            LeaseLostError: The lease is not held.
            StorageError: No thread can be started.
        """
        if not self.held:
            raise LeaseLostError(self.record.location)
        lease = self.record

        def write(statements: WritingStatements) -> None:
            return statements.write_progress([(lease, record)])

        return self._client.ask(Execute(write, rows=1), None)

    def release(self) -> None:
        """Release the lease, also while its claim is queued. Otherwise without effect.

        Where the store cannot be written, the writer thread repeats the release later.
        """
        record = self.record
        # Set before `held` is read: the writer thread sets the token before it reads `released`.
        record.released = True
        if not self.held:
            return
        request = Release.of(record, record.token)
        record.token = 0
        pending = self._client.ask(request, None)
        if not is_writer():  # A garbage collection may call this in the writer thread.
            pending.wait()
