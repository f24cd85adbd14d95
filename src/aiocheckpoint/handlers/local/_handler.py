"""The handler for snapshots in local files, one for each run."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Unpack

from aiocheckpoint._logging import RunPlace, log_unknown_owner
from aiocheckpoint._model.start_record import Ownership, shown_header
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import (
    InvalidValueError,
    LeaseLostError,
    StorageError,
)
from aiocheckpoint.handlers._base import StateHandler
from aiocheckpoint.handlers._files.databases import refuse_database
from aiocheckpoint.handlers._files.leftovers import clear_unowned
from aiocheckpoint.handlers._files.reading import open_regular
from aiocheckpoint.handlers._files.replace import (
    find_destination,
    replace_file,
)
from aiocheckpoint.handlers._found_snapshots import FoundSnapshot
from aiocheckpoint.handlers._identifiers import checked_path, checked_run_id
from aiocheckpoint.handlers._leases import LockKind, checked_lock_kind
from aiocheckpoint.handlers._query import select
from aiocheckpoint.handlers._retention import Keep, checked_keep
from aiocheckpoint.handlers._urls import (
    DATABASES,
    absolute_path,
    flow_name,
    redact_url,
    refuse_mistaken,
    url_scheme,
)
from aiocheckpoint.handlers.local._backup import back_up
from aiocheckpoint.handlers.local._ending_file import EndingFiles
from aiocheckpoint.handlers.local._headers import (
    found_files,
    header_at,
    refuse_foreign,
    run_id_at,
)
from aiocheckpoint.handlers.local._history import RetainedSnapshots
from aiocheckpoint.handlers.local._paths import RunPaths
from aiocheckpoint.handlers.local._record_files import RecordFiles
from aiocheckpoint.handlers.local._run_lock import RunLock
from aiocheckpoint.handlers.local._start_file import read_start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.signing import Secrets
    from aiocheckpoint._snapshot.target import SnapshotTarget
    from aiocheckpoint.handlers._locks import Lock
    from aiocheckpoint.handlers._options import SnapshotOptions
    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers._reader import StoreReader

__all__ = ["LocalStateHandler"]


class LocalStateHandler(RecordFiles):
    """Keeps each run's snapshot in a file of its own, replaced atomically and durably.

    Args:
        path: The file, such as "checkpoint.pkl". `~` is the user's home. Missing directories are
            made by the first run. The file of a run with an id is beside it: `order-42` is in
            "checkpoint.order-42.pkl". Or a directory for all runs, an existing one or a path
            with a slash at its end, such as "runs/": `order-42` is in "runs/order-42.pkl".
        fsync: Whether each write waits until the disk has it. With False, a power cut may lose
            snapshots. A killed process still leaves the old snapshot or the new one. On ext4,
            False also gives up the early write-out of a file renamed over another.
        keep: How many snapshots of each run are kept, the newest included. Where the newest is
            damaged, the newest sound one is used, with a warning. "all" keeps every snapshot of
            the last run through the steps, so that `checkpoint="f2"` starts with the state on
            entry to f2. Older snapshots are hard links in a hidden directory beside the file.
            The record of a failure replaces the snapshot that it amends. Where the file itself
            was deleted or emptied, nothing is stored, and the next run deletes the older ones.
        lock: "kernel" holds the lock of a run by the kernel's lock on a file beside it. "lease"
            is for file systems without locks: a lock file that a thread renews. All processes of
            one place use the same. An owner that is seen on this machine and in this container is
            succeeded when its process has ended, or when a signal has stopped it for `lease=`
            seconds. Any other is succeeded when no renewal came for `lease=` seconds, which each
            asker watches on its own clock, with five looks at least.
        lease: With `lock="lease"`: these seconds, by default 30. A process that was stopped, or
            could not renew its lock file for another machine, may lose its runs, and then raises
            `LeaseLostError`.
        flow: Name of the flow, by default the file name without its ending, as for
            `CheckpointFlow`.
        options: `secret=`, `allow=` and `verify=`, see `SnapshotOptions`.

    Attributes:
        path: The path given.
        fsync: Whether each write waits for the disk.
        keep: How many snapshots of each run are kept.
        locking: "kernel" or "lease".
        lease: Length of a lease in seconds. None under "kernel".
        flow: Name of the flow.
        key_ids: Ids of the secrets, as `Header.signed_by` has them.

    Raises:
        InvalidTypeError, InvalidValueError: `path` is no path, or an option is invalid.
        StorageError: The file is a SQLite database. Or `path` is relative, and the working
            directory was deleted.
    """

    is_local = True
    _shown_options = (("fsync", True), ("keep", 1), ("lock", "kernel"), ("lease", None))

    @front_door
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fsync: bool = True,
        keep: Keep = 1,
        lock: LockKind = "kernel",
        lease: float | None = None,
        flow: str | None = None,
        **options: Unpack[SnapshotOptions],
    ) -> None:
        text = checked_path(path)
        keeps_files = (
            type(self).write is StateHandler.write
        )  # A subclass may store dicts otherwise.
        if keeps_files:
            refuse_mistaken(text)
        is_other = keeps_files and url_scheme(text) in DATABASES
        if is_other or (url_scheme(text) is not None and redact_url(text) != text):
            # The path stands in errors and file names.
            raise InvalidValueError(
                f"{redact_url(text)!r} is the URL of a database or server, and "
                f"{type(self).__name__} takes the "
                "path of a file or directory. CheckpointFlow(url) finds a handler by the scheme."
            )
        super().__init__(flow_name(text) if flow is None else flow, **options)
        self.path: str | os.PathLike[str] | None = path
        self.fsync = fsync
        self.keep: Keep = checked_keep(keep)
        self.locking, seconds = checked_lock_kind(lock, lease)
        self.lease: float | None = seconds if self.locking == "lease" else None
        # The working directory may change between two snapshots of one run.
        full = absolute_path(text)
        if keeps_files:
            refuse_database(full)
        slashes = tuple(filter(None, (os.sep, os.altsep)))
        self._paths = RunPaths(full, directory=text.endswith(slashes) or os.path.isdir(full))
        self._endings = EndingFiles(self.locate)

    def locate(self, run_id: str | None = None) -> str:
        """The absolute path of a run's file."""
        return self._paths.path(checked_run_id(run_id))

    def lock(self, run_id: str | None = None) -> RunLock:
        """The lock of a run: the kernel's on a hidden file beside it, or a renewed file."""
        return self._lock_at(self.locate(run_id), one_of_many=run_id is not None)

    def lock_in_use(self, run_id: str | None = None) -> RunLock:
        """The lock of a run, a lease where its lock file names an owner by a lease."""
        return RunLock.in_use(self.locate(run_id), self.lease, fsync=self.fsync)

    def _lock_at(self, path: str, *, one_of_many: bool) -> RunLock:
        return RunLock(path, self.lease, one_of_many=one_of_many, fsync=self.fsync)

    def _shown_option(self, name: str) -> object:
        return self.locking if name == "lock" else super()._shown_option(name)

    def open(
        self, run_id: str | None = None, kept: tuple[int, int] | None = None
    ) -> BinaryIO | None:
        """Open a run's file, or that of a retained snapshot, or give None where there is none.

        Raises:
            StorageError: The file cannot be read, or is no regular file.
        """
        path = self.locate(run_id)
        return open_regular(path if kept is None else self._retained(path).path(*kept))

    def kept(self, run_id: str | None = None) -> list[tuple[int, int]]:
        """List the retained snapshots of a run: number and sequence of each, newest first."""
        return [] if self.keep == 1 else self._retained(self.locate(run_id)).entries()

    def ownership(self, run_id: str | None = None) -> Ownership:
        """Read the owner of a run from its lock file, and the record of its last start."""
        return self._ownership_at(self.locate(run_id))

    def _ownership_at(self, path: str) -> Ownership:
        lock, record = self._lock_at(path, one_of_many=True), read_start(path)
        owner = lock.owner()
        if owner is not None or not os.path.lexists(lock.file):
            return Ownership(record, owner)
        drained = record is not None and record.drains
        return Ownership(record, None, "drained" if drained else "killed")

    def replace(
        self,
        run_id: str | None,
        write_to: Callable[[SnapshotTarget], Header],
        amends: Header | None = None,
        *,
        lock: Lock | None = None,
    ) -> tuple[Header, int]:
        """Replace a run's file by the bytes that `write_to` writes, and keep as many as `keep`.

        Raises:
            StorageError: The file cannot be written and is unchanged. A `NotDurableError`: the
                file was written but may not outlive a power cut.
            LeaseLostError: `lock` is not held, or its file was deleted. The file is unchanged.
            RunInProgressError: No `lock` is given, and another owner has it.
        """
        if lock is None:
            with self.locked(run_id) as own:
                return self.replace(run_id, write_to, amends, lock=own)
        path = self.locate(run_id)
        if not lock.held:
            raise LeaseLostError(path)
        _, target, exists = destination = find_destination(path)
        around = None
        if self.keep != 1 or not exists:
            retained = RetainedSnapshots(target, self.keep)
            manage = retained.retaining if exists else retained.beginning
            around = partial(manage, amends=amends)
        check = lock.check if isinstance(lock, RunLock) else None
        return replace_file(destination, write_to, fsync=self.fsync, check=check, around=around)

    @front_door
    def remove(self, run_id: str | None = None, *, lock: Lock | None = None) -> None:
        """Delete a run's file and its retained snapshots, if there are any. A link stays.

        Files of others are not deleted: only snapshots, damaged or not, and empty files are.

        Raises:
            StorageError: They cannot be deleted, or the file is a SQLite database.
            CorruptSnapshotError: Nothing shows that this library wrote the file, or it is the
                snapshot of another flow. A `ForeignFileError`: it is somebody's own pickle.
            LeaseLostError: `lock` is not held, or its file was deleted. Nothing was deleted.
            RunInProgressError: No `lock` is given, and another owner has it.
        """
        path = self.locate(run_id)
        with self.hold_or_check(run_id, lock) as held:
            try:
                if isinstance(held, RunLock):
                    held.check()
                refuse_foreign(self, path, self._retained(path).entries)
                self._retained(path).clear()
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.realpath(path))
                self.clear_records(path, held)
            except StorageError:
                raise
            except OSError as error:
                raise StorageError.of(path, "deleting", error) from error

    @front_door
    def runs(self, query: Query) -> list[Header]:
        """List the headers of the runs in this directory, in the order of the query.

        The end of each file is read, and the lock file of a run in progress. Temporary files of
        killed owners are deleted, and of finished runs their lock files, where the kernel's locks
        are used.

        Raises:
            StorageError: The directory cannot be read.
        """
        return select(self._headers(clears=query.after is None), query)

    def headers(self) -> Iterator[Header]:
        """Give the headers of the runs one by one, and delete nothing."""
        return self._headers(clears=False)

    def exists(self) -> bool:
        """Whether the directory of runs, or the file, is there."""
        paths = self._paths
        return os.path.exists(paths.directory if paths.is_directory else paths.path(None))

    def find_snapshots(self, run_id: str | None) -> Iterator[FoundSnapshot]:
        """Find the file of a run. See `StateHandler.find_snapshots`."""
        path = self.locate(run_id)
        known = self.known_at(path, run_id)
        yield FoundSnapshot(path, run_id, self.flow, partial(open_regular, path), known)

    def find_all_snapshots(self) -> Iterator[FoundSnapshot]:
        """Find the files of all runs, and delete nothing."""
        paths, leftovers = found_files(self._paths)
        for path in sorted(paths):
            run_id = run_id_at(self, self._paths, path)
            known = self.known_beside(path, run_id, leftovers)
            yield FoundSnapshot(path, run_id, "", partial(open_regular, path), known)

    def known_beside(
        self, path: str, run_id: str | None, leftovers: Mapping[str, list[str]]
    ) -> Ownership:
        """Do as `ownership`, and look at no file that is not there. A link's are elsewhere."""
        is_known = os.path.basename(path) in leftovers or os.path.islink(path)
        return self.known_at(path, run_id) if is_known else Ownership()

    def reader(self, secret: Secrets | None = None) -> StoreReader:
        """Make the reader of the files."""
        from aiocheckpoint.handlers.local._reader import LocalReader  # noqa: PLC0415 - rarely

        return LocalReader(self, self._paths, self.known_at, secret)

    @front_door
    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the snapshots of all runs to a new place, also while runs are in progress.

        The copy of each run is one of its snapshots, at a moment of its own. Retained snapshots
        are copied as well. A directory appears at `path` when it is complete, and a copy of a
        directory is one. Everything is flushed to the disk.

        Args:
            path: A file or directory, as for `LocalStateHandler`. Its parents are made.

        Raises:
            InvalidTypeError, InvalidValueError: `path` is no path, or a URL.
            StorageError: Nothing is stored, something is at `path` already, or it cannot be
                written.
        """
        text = checked_path(path)
        if url_scheme(text) is not None:
            raise InvalidValueError(
                f"backup() of files copies them to a path, not to {redact_url(text)!r}."
            )
        refuse_mistaken(text)
        full, slashes = absolute_path(text), tuple(filter(None, (os.sep, os.altsep)))
        is_directory = self._paths.is_directory or text.endswith(slashes) or os.path.isdir(full)
        back_up(self._paths, RunPaths(full, directory=is_directory))

    def _headers(self, *, clears: bool) -> Iterator[Header]:
        paths, leftovers = found_files(self._paths)
        unfinished: set[str] = set()
        for path in paths:
            header = header_at(self, path)
            if header is None:
                continue
            name = os.path.basename(path)
            if not header.finished:
                unfinished.add(name)
            yield shown_header(header, self.known_beside(path, header.run_id, leftovers))
        if leftovers and clears and self.locking == "kernel":
            clear_unowned(self._paths.directory, leftovers, unfinished)

    def known_at(self, path: str, run_id: str | None) -> Ownership:
        """Do as `ownership`. An owner that cannot be read keeps nobody from seeing the run."""
        try:
            return self._ownership_at(path)
        except StorageError as error:
            log_unknown_owner(error, RunPlace(self.flow, run_id))
            return Ownership()

    def _retained(self, path: str) -> RetainedSnapshots:
        return RetainedSnapshots(os.path.realpath(path), self.keep)
