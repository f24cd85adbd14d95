"""What a place for snapshots does: it moves their bytes, locks them and lists them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypedDict, Unpack

from aiocheckpoint._model.checks import checked_flag
from aiocheckpoint._snapshot.codec import Codec
from aiocheckpoint._snapshot.header_json import as_json_round_trip
from aiocheckpoint._snapshot.pickling.allowlist import check_allow
from aiocheckpoint.errors import (
    CorruptSnapshotError,
    InvalidValueError,
    LeaseLostError,
    RunInProgressError,
    UntrustedSnapshotError,
)
from aiocheckpoint.handlers._run_store import SnapshotRunStore

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.signing import Secret, Signer
    from aiocheckpoint._snapshot.stored import StoredSnapshot
    from aiocheckpoint._snapshot.target import SnapshotTarget
    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["Lock", "SnapshotOptions", "SnapshotPort"]


class SnapshotOptions(TypedDict, total=False):
    """What every handler that moves snapshots can be told of them.

    Attributes:
        secret: Signs each snapshot, and lets none be loaded that is not signed, for this flow and
            run. At least 32 bytes, as `bytes` or text; in a list, the first signs and all verify.
        allow: The globals that snapshots may name, each as "package.module:Name"; an empty tuple
            for plain data alone. Others are refused when saved and when loaded.
        verify: Whether each snapshot is loaded back before it counts (default False).
    """

    secret: Secret | Sequence[Secret]
    allow: Sequence[str] | AbstractSet[str]
    verify: bool


class Lock(Protocol):
    """An exclusive right to one run's place, which dies with its owner.

    Attributes:
        held: Whether it was taken and not given back. It may have been lost since.
    """

    @property
    def held(self) -> bool:
        """See above."""
        ...

    def acquire(self) -> None:
        """Take it now, or raise RunInProgressError."""

    def release(self) -> None:
        """Give it back; without effect where it is not held."""


class SnapshotPort(ABC):
    """What moves the bytes of snapshots; the base of `StateHandler`, which tells of it."""

    flow: str = ""
    key_ids: tuple[str, ...] = ()
    codec: Codec = Codec()

    def __init__(self, flow: str = "", **options: Unpack[SnapshotOptions]) -> None:
        self.flow = flow
        self.codec = _make_codec(flow, options)
        self.key_ids = () if self.codec.signer is None else self.codec.signer.ids

    @abstractmethod
    def locate(self, run_id: str | None = None) -> str:
        """Say where the snapshot of a run is, for people to read."""

    @abstractmethod
    def lock(self, run_id: str | None = None) -> Lock:
        """Make the lock of a run, not yet taken."""

    def run_store(self, run_id: str | None, backend: Backend) -> RunStore:
        """The place of a run, as the engine uses it."""
        return SnapshotRunStore(self, run_id, backend)

    @abstractmethod
    def open(
        self, run_id: str | None = None, kept: tuple[int, int] | None = None
    ) -> BinaryIO | None:
        """Open the snapshot of a run for reading, or give None where there is none.

        Args:
            run_id: The run, or None.
            kept: The newest where it is None, else one of those that `kept` lists.

        Raises:
            StorageError: The place cannot be read.
        """

    @abstractmethod
    def replace(
        self,
        run_id: str | None,
        emit: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Replace the snapshot of a run by what `emit` writes, whole or not at all.

        Args:
            run_id: The run, or None.
            emit: Called once with what takes the bytes; returns the header written.
            amends: Header of the snapshot there, where the new one only tells more of the same
                state, so that keeping both would be keeping one twice.
            lock: The lock of this run under which it is written; without one, it is taken for as
                long as the call takes.

        Returns:
            What `emit` returned, and the number of bytes written.

        Raises:
            StorageError: The place cannot be written; it holds what it held.
            LeaseLostError: `lock` is not held, or was lost; the place holds what it held.
            RunInProgressError: No `lock` is given, and somebody has it.
        """

    @abstractmethod
    def remove(self, run_id: str | None = None, *, lock: Lock | None = None) -> None:
        """Delete the snapshots of a run, if there are any.

        Args:
            run_id: The run, or None.
            lock: As in `replace`.

        Raises:
            StorageError: They cannot be deleted.
            LeaseLostError: `lock` is not held, or was lost; nothing was deleted.
            RunInProgressError: No `lock` is given, and somebody has it.
        """

    @abstractmethod
    def runs(self, query: Query) -> list[Header]:
        """List the headers of the stored runs, the one that began last first.

        What is damaged, not signed as it must be, or of a later version, is passed over with a
        warning in the log.

        Raises:
            StorageError: The place cannot be read.
        """

    def prune(self, query: Query) -> int:
        """Delete the runs that a query asks for, except those under way, and give their number.

        Raises:
            StorageError: The place cannot be read or written.
        """
        count = 0
        for header in self.runs(query):
            with suppress(RunInProgressError), self.locked(header.run_id) as lock:
                # Between the look and the lock it may have been run again.
                newest = self.header(header.run_id)
                if newest is not None and query.wants(newest):
                    self.remove(header.run_id, lock=lock)
                    count += 1
        return count

    @contextmanager
    def locked(self, run_id: str | None = None) -> Generator[Lock, None, None]:
        """Hold the lock of a run for the time of a `with` block.

        Raises:
            RunInProgressError: Somebody has it.
            StorageError: It cannot be taken.
        """
        lock = self.lock(run_id)
        lock.acquire()
        try:
            yield lock
        finally:
            lock.release()

    def kept(self, run_id: str | None = None) -> list[tuple[int, int]]:
        """List what is kept of a run beside its newest snapshot, for handlers that keep more.

        Returns:
            Number and sequence of each, as in their headers, newest first. The newest snapshot
            may be among them.
        """
        del run_id
        return []

    def under(self, run_id: str | None, lock: Lock | None) -> AbstractContextManager[Lock]:
        """Hold the lock of a run for the time of a `with` block, or see that `lock` is held.

        Raises:
            LeaseLostError: `lock` is not held.
            RunInProgressError: No `lock` is given, and somebody has it.
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

        Where more than one is kept, payloads are checked as well, and the newest sound one is
        given; its `skipped` tells what is wrong with the newest.

        Raises:
            StorageError: It cannot be read.
            CorruptSnapshotError: It is damaged, no snapshot, or that of another run.
            UntrustedSnapshotError: It is not signed as it must be.
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
                else self._found(run_id, None, stack)
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
                found = self._checked(run_id, kept, stack)
                if found is not None:
                    found.skipped = newest
                    return found
        raise newest

    def _checked(
        self, run_id: str | None, kept: tuple[int, int] | None, stack: ExitStack
    ) -> StoredSnapshot | None:
        found = self._found(run_id, kept, stack)
        if found is not None:
            found.check()
        return found

    def _found(
        self, run_id: str | None, kept: tuple[int, int] | None, stack: ExitStack
    ) -> StoredSnapshot | None:
        file = self.open(run_id, kept)
        if file is None:
            return None
        stack.enter_context(closing(file))
        location = self.locate(run_id)
        if kept is not None:
            location = f"{location} (kept, number {kept[0]}, sequence {kept[1]})"
        found = self.codec.open(file, location)
        # A bare pickle tells of no run.
        if found is not None and found.header.library:
            self.check_run(found.header, run_id, location)
        return found

    def check_run(self, header: Header, run_id: str | None, location: str) -> None:
        """See that a header found in the place of a run is that run's.

        Raises:
            CorruptSnapshotError, UntrustedSnapshotError: It is another run's; the second where
                snapshots are signed.
        """
        if header.run_id != as_json_round_trip(run_id):
            kind = CorruptSnapshotError if self.codec.signer is None else UntrustedSnapshotError
            raise kind(location, "it is the snapshot of another run")

    def header(self, run_id: str | None = None) -> Header | None:
        """Read the header of a run's snapshot, or give None where there is none.

        Raises:
            StorageError, CorruptSnapshotError, UntrustedSnapshotError, IncompatibleSnapshotError:
                As in `stored`.
        """
        with self.stored(run_id) as found:
            return None if found is None else found.header


def _make_codec(flow: str, options: SnapshotOptions) -> Codec:
    known = SnapshotOptions.__annotations__
    for option in options:
        if option not in known:  # which a signature of **options lets in
            listed = ", ".join(f"{name}=" for name in known)
            raise InvalidValueError(f"{option}= is no option of this handler; it takes {listed}.")
    return Codec(
        _signer(options["secret"], flow) if "secret" in options else None,
        check_allow(options["allow"]) if "allow" in options else None,
        verify=checked_flag("verify", options.get("verify", False)),
    )


def _signer(secret: Secret | Sequence[Secret], flow: str) -> Signer:
    from aiocheckpoint._snapshot.signing import make_signer  # noqa: PLC0415 - most sign nothing

    return make_signer(secret, flow)
