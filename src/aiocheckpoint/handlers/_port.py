"""The port of the stores: moving the bytes of snapshots, locking and listing runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypedDict, Unpack

from aiocheckpoint._model.checks import checked_flag
from aiocheckpoint._snapshot.codec import Codec
from aiocheckpoint._snapshot.pickling.listed import checked_allow
from aiocheckpoint._snapshot.signing import make_signer
from aiocheckpoint.errors import (
    CorruptSnapshotError,
    InvalidValueError,
    LeaseLostError,
    RunInProgressError,
    UntrustedSnapshotError,
)
from aiocheckpoint.handlers._identifiers import checked_flow

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.signing import Secret
    from aiocheckpoint._snapshot.stored_snapshot import StoredSnapshot
    from aiocheckpoint._snapshot.target import SnapshotTarget
    from aiocheckpoint.handlers._query import Query

__all__ = ["Lock", "SnapshotOptions", "SnapshotPort", "refuse_unknown"]

_OTHER_RUN = (
    "It was neither loaded nor changed. If the file was renamed, give it its old name, as "
    "handler.locate(run_id) tells it."
)
_OTHER_FLOW = (
    "It was neither loaded nor changed. If the file was renamed, give the flow its old name, by "
    "name={name!r}. Two flows need a file or directory each."
)


class SnapshotOptions(TypedDict, total=False):
    """The options of every handler of snapshots.

    Attributes:
        secret: Signs each snapshot for its flow and run. Only signed snapshots are loaded. At
            least 32 bytes, as `bytes` or text. Of a list, the first signs and all verify.
        allow: The globals that snapshots may name, each as "package.module:Name". An empty tuple
            is for plain data alone. Others are refused when saved and when loaded.
        verify: Whether each snapshot is loaded back before it counts (default False).
    """

    secret: Secret | Sequence[Secret]
    allow: Sequence[str] | AbstractSet[str]
    verify: bool


class Lock(Protocol):
    """An exclusive lock of one run, which ends with its owner.

    A lock that is a file has its path in an attribute `file`. `aiocheckpoint.testing.check_handler`
    deletes it, as a cleaner of old files may do.

    Attributes:
        held: Whether the lock was taken and not released. It may have been lost since.
    """

    @property
    def held(self) -> bool:
        """See above."""
        ...

    def acquire(self) -> None:
        """Take the lock now, or raise RunInProgressError."""

    def release(self) -> None:
        """Release the lock, without effect where it is not held."""


class SnapshotPort(ABC):
    """The interface of a store. Users read of it in `StateHandler`."""

    # Defaults for a subclass whose own __init__ does not call this one.
    flow: str = ""
    also_of: frozenset[str] = frozenset()
    """Names of the flows that were given this object as their handler."""
    key_ids: tuple[str, ...] = ()
    codec: Codec = Codec()

    def __init__(self, flow: str = "", **options: Unpack[SnapshotOptions]) -> None:
        self.flow = checked_flow(flow)
        self.codec = _make_codec(flow, options)
        self.key_ids = () if self.codec.signer is None else self.codec.signer.ids

    @abstractmethod
    def locate(self, run_id: str | None = None) -> str:
        """Name the location of a run's snapshot, for people to read."""

    @abstractmethod
    def lock(self, run_id: str | None = None) -> Lock:
        """Make the lock of a run, not yet taken."""

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
        """List the headers of the stored runs, the latest begun first.

        A snapshot that is damaged, not correctly signed, or of a later version is left out, with
        a warning in the log.

        Raises:
            StorageError: The store cannot be read.
        """

    def prune(self, query: Query) -> int:
        """Delete the runs that a query asks for, except runs in progress, and give their number.

        Raises:
            StorageError: The store cannot be read or written.
        """
        count = 0
        for header in self.runs(query):
            with suppress(RunInProgressError), self.locked(header.run_id) as lock:
                # Between the list and the lock the run may have been run again.
                newest = self.header(header.run_id)
                if newest is not None and query.wants(newest):
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
        lock.acquire()
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

    def header(self, run_id: str | None = None) -> Header | None:
        """Read the header of a run's snapshot, or give None where there is none.

        Raises:
            StorageError, CorruptSnapshotError, UntrustedSnapshotError, IncompatibleSnapshotError:
                As in `stored`.
        """
        with self.stored(run_id) as snapshot:
            return None if snapshot is None else snapshot.header


def refuse_unknown(options: Iterable[str], accepted: Iterable[str], handler: str) -> None:
    """Raise InvalidValueError for the first option that a handler does not take."""
    names = list(accepted)
    for option in options:
        if option not in names:
            listed = ", ".join(f"{name}=" for name in names) or "none"
            raise InvalidValueError(f"{option}= is no option of {handler}, which takes {listed}.")


def _make_codec(flow: str, options: SnapshotOptions) -> Codec:
    # Also checked here: a class made directly takes any name in **options.
    refuse_unknown(options, SnapshotOptions.__annotations__, "this handler")
    return Codec(
        make_signer(options["secret"], flow) if "secret" in options else None,
        checked_allow(options["allow"]) if "allow" in options else None,
        verify=checked_flag("verify", options.get("verify", False)),
    )
