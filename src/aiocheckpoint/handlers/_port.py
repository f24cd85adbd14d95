"""The port of the stores: moving the bytes of snapshots, locking and listing runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, BinaryIO, Unpack

from aiocheckpoint._errors.in_progress import without_wait
from aiocheckpoint._model.start_record import shown_header
from aiocheckpoint._snapshot.codec import Codec
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import (
    CorruptSnapshotError,
    ForeignFileError,
    LeaseLostError,
    RunInProgressError,
    UntrustedSnapshotError,
)
from aiocheckpoint.handlers._ending_port import EndingPort
from aiocheckpoint.handlers._identifiers import checked_flow
from aiocheckpoint.handlers._notice_port import NoticePort
from aiocheckpoint.handlers._options import SnapshotOptions, make_codec
from aiocheckpoint.handlers._progress_port import ProgressPort
from aiocheckpoint.handlers._start_port import StartPort

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from aiocheckpoint._concurrency.giving_up import Answers
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.stored_snapshot import StoredSnapshot
    from aiocheckpoint._snapshot.target import SnapshotTarget
    from aiocheckpoint.handlers._locks import Lock
    from aiocheckpoint.handlers._query import Query

__all__ = ["SnapshotPort"]

_OTHER_RUN = (
    "It was neither loaded nor changed. If the file was renamed, give it its old name, as "
    "handler.locate(run_id) tells it."
)
_OTHER_FLOW = (
    "It was neither loaded nor changed. If the file was renamed, give the flow its old name, by "
    "name={name!r}. Two flows need a file or directory each."
)


class SnapshotPort(StartPort, EndingPort, ProgressPort, NoticePort, ABC):
    """The interface of a store. Users read of it in `StateHandler`."""

    # Defaults for a subclass whose own __init__ does not call this one.
    flow: str = ""
    also_of: frozenset[str] = frozenset()
    """Names of the flows that were given this object as their handler."""
    key_ids: tuple[str, ...] = ()
    codec: Codec = Codec()
    outlives_process: bool = True
    """Whether another process finds the snapshots."""
    is_local: bool = False
    """Whether the store is files of this machine. All such handlers share their threads. Any other
    handler object has threads of its own, so that a store that hangs holds up no other."""
    answers: Answers | None = None
    """Counts the answers of a store that waits for another machine, and repeats its calls."""

    def __init__(self, flow: str = "", **options: Unpack[SnapshotOptions]) -> None:
        self.flow = checked_flow(flow)
        self.codec = make_codec(flow, options, self._option_hint)
        self.key_ids = () if self.codec.signer is None else self.codec.signer.ids

    @classmethod
    def _option_hint(cls, option: str) -> str:
        """The end of the error for an option that is unknown: where it belongs, or ""."""
        del option
        return ""

    @abstractmethod
    def locate(self, run_id: str | None = None) -> str:
        """Name the location of a run's snapshot, for people to read."""

    @abstractmethod
    def lock(self, run_id: str | None = None) -> Lock:
        """Make the lock of a run, not yet taken."""

    def lock_in_use(self, run_id: str | None = None) -> Lock:
        """Make the lock of a run of the kind that the store shows to be in use, not yet taken.

        `adopt` takes it, which does not know the options of the flow.

        Raises:
            StorageError: The store cannot be read.
        """
        return self.lock(run_id)

    @abstractmethod
    def open(
        self, run_id: str | None = None, kept: tuple[int, int] | None = None
    ) -> BinaryIO | None:
        """Open the snapshot of a run for reading, or give None where there is none.

        Args:
            run_id: The run, or None.
            kept: None for the newest snapshot, else an entry of the list that `kept` gives.

        Raises:
            StorageError: The store cannot be read.
        """

    @abstractmethod
    def replace(
        self,
        run_id: str | None,
        write_to: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Replace the snapshot of a run by the bytes that `write_to` writes, whole or not at all.

        Args:
            run_id: The run, or None.
            write_to: Called once with the target of the bytes. Returns the header written.
            amends: Header of the present snapshot if the new one holds the same state. The new one
                then replaces it in the history.
            lock: The lock of this run, held by the caller. Without it, the call takes the lock
                and releases it.

        Returns:
            The header that `write_to` returned, and the number of bytes written.

        Raises:
            StorageError: The store cannot be written and is unchanged.
            LeaseLostError: `lock` is not held, or was lost. The store is unchanged.
            RunInProgressError: No `lock` is given, and another owner has it.
        """

    @abstractmethod
    def remove(self, run_id: str | None = None, *, lock: Lock | None = None) -> None:
        """Delete the snapshots of a run, if there are any.

        Args:
            run_id: The run, or None.
            lock: As in `replace`.

        Raises:
            StorageError: They cannot be deleted.
            LeaseLostError: `lock` is not held, or was lost. Nothing was deleted.
            RunInProgressError: No `lock` is given, and another owner has it.
        """

    @abstractmethod
    def runs(self, query: Query) -> list[Header]:
        """List the headers of the stored runs, filtered and ordered as `select` does.

        Each is completed by its owner and its starts, as `with_ownership` does. A snapshot that is
        damaged, not correctly signed, or of a later version is left out, with a warning in the log.

        Raises:
            StorageError: The store cannot be read.
        """

    @front_door
    def prune(self, query: Query) -> int:
        """Delete the runs that a query asks for, except runs in progress, and give their number.

        Raises:
            StorageError: The store cannot be read or written.
        """
        return self._prune(query)

    @front_door
    def prune_trusted(self, query: Query) -> int:
        """Do as `prune` for runs that the secrets of this handler sign, or without one unsigned.

        Raises:
            StorageError: The store cannot be read or written.
        """
        return self._prune(query, trusted=True)

    def _prune(self, query: Query, *, trusted: bool = False) -> int:
        # With secrets, `runs` and `header` check each signature.
        unsigned, count = trusted and self.codec.signer is None, 0
        for header in self.runs(query):
            with suppress(RunInProgressError), self.locked(header.run_id) as lock:
                # Between the list and the lock the run may have been run again.
                newest = self.header(header.run_id)
                if newest is None or not query.wants(newest) or (unsigned and newest.signed_by):
                    continue
                self.remove(header.run_id, lock=lock)
                count += 1
        return count

    @contextmanager
    def locked(self, run_id: str | None = None) -> Generator[Lock, None, None]:
        """Hold the lock of a run for the time of a `with` block.

        Raises:
            RunInProgressError: Another owner has it.
            StorageError: It cannot be taken.
        """
        lock = self.lock(run_id)
        try:
            lock.acquire()
        except RunInProgressError as error:
            raise without_wait(error) from None
        try:
            yield lock
        finally:
            lock.release()

    def kept(self, run_id: str | None = None) -> list[tuple[int, int]]:
        """List the retained snapshots of a run, for handlers that keep more than the newest.

        Returns:
            Number and sequence of each, as in their headers, newest first. The newest snapshot
            may be among them.
        """
        del run_id
        return []

    def hold_or_check(self, run_id: str | None, lock: Lock | None) -> AbstractContextManager[Lock]:
        """Hold the lock of a run for the time of a `with` block, or check that `lock` is held.

        Raises:
            LeaseLostError: `lock` is not held.
            RunInProgressError: No `lock` is given, and another owner has it.
            StorageError: It cannot be taken.
        """
        if lock is None:
            return self.locked(run_id)
        if lock.held:
            return nullcontext(lock)
        raise LeaseLostError(self.locate(run_id))

    @contextmanager
    def stored(
        self, run_id: str | None = None, kept: tuple[int, int] | None = None
    ) -> Generator[StoredSnapshot | None, None, None]:
        """Open and check the snapshot of a run, for the time of a `with` block.

        Where older snapshots are kept, payloads are checked as well, and the newest sound
        snapshot is given. Its `skipped` is then the error of the newest.

        Raises:
            StorageError: The snapshot cannot be read.
            CorruptSnapshotError: It is damaged, no snapshot, or that of another run.
            UntrustedSnapshotError: It is not correctly signed.
            IncompatibleSnapshotError: Its format is of a later version.
        """
        with ExitStack() as stack:
            if kept is not None:
                yield self._checked(run_id, kept, stack)
                return
            older = self.kept(run_id)
            yield (
                self._newest_sound(run_id, older, stack)
                if older
                else self._open_stored(run_id, None, stack)
            )

    def _newest_sound(
        self, run_id: str | None, older: list[tuple[int, int]], stack: ExitStack
    ) -> StoredSnapshot | None:
        try:
            return self._checked(run_id, None, stack)
        except ForeignFileError:  # Somebody has put a file of their own there.
            raise
        except (CorruptSnapshotError, UntrustedSnapshotError) as error:
            newest = error
        for kept in older:
            with suppress(CorruptSnapshotError, UntrustedSnapshotError):
                snapshot = self._checked(run_id, kept, stack)
                if snapshot is not None:
                    snapshot.skipped = newest
                    return snapshot
        raise newest

    def _checked(
        self, run_id: str | None, kept: tuple[int, int] | None, stack: ExitStack
    ) -> StoredSnapshot | None:
        snapshot = self._open_stored(run_id, kept, stack)
        if snapshot is not None:
            snapshot.checked_payload()
        return snapshot

    def _open_stored(
        self, run_id: str | None, kept: tuple[int, int] | None, stack: ExitStack
    ) -> StoredSnapshot | None:
        file = self.open(run_id, kept)
        if file is None:
            return None
        stack.enter_context(closing(file))
        location = self.locate(run_id)
        if kept is not None:
            location = f"{location} (kept, number {kept[0]}, sequence {kept[1]})"
        snapshot = self.codec.open(file, location)
        # A bare pickle has no run id.
        if snapshot is not None and snapshot.header.library:
            self.check_run(snapshot.header, run_id, location)
        return snapshot

    def check_run(self, header: Header, run_id: str | None, location: str) -> None:
        """Check that a header found under a run id belongs to that run, of this flow.

        Snapshots of gumly name no flow, and a handler may be made without one.

        Raises:
            CorruptSnapshotError: The header is another run's, or another flow's.
            UntrustedSnapshotError: The same, where snapshots are signed.
        """
        remedy, known = None, self.also_of | {self.flow} - {""}
        if header.run_id != run_id:
            reason = f"it is the snapshot of another run, {header.run_id!r}"
            remedy = _OTHER_RUN
        elif header.flow and known and header.flow not in known:
            asking = self.flow or next(iter(known))
            reason = f"it is of the flow {header.flow!r}, and was asked for by {asking!r}"
            remedy = _OTHER_FLOW.format(name=header.flow)
        else:
            return
        if self.codec.signer is not None:
            raise UntrustedSnapshotError(location, reason)
        raise CorruptSnapshotError(location, reason, remedy=remedy)

    @front_door
    def header(self, run_id: str | None = None) -> Header | None:
        """Read the header of a run, or give None where nothing is stored.

        It is that of the snapshot, with the owner and the starts of the run. A run that was claimed
        since to go on has the status "running".

        Raises:
            StorageError, CorruptSnapshotError, UntrustedSnapshotError, IncompatibleSnapshotError:
                As in `stored`.
        """
        with self.stored(run_id) as snapshot:
            if snapshot is None:
                return None
            header = snapshot.header
        return shown_header(header, self.ownership(run_id))  # A bare pickle has no run id.
