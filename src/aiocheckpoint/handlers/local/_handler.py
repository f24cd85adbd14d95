"""The handler for snapshots in local files, one for each run."""

from __future__ import annotations

import contextlib
import io
import os
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Unpack

from aiocheckpoint._logging import log_left_out
from aiocheckpoint.errors import CheckpointError, LeaseLostError, StorageError
from aiocheckpoint.handlers._base import StateHandler
from aiocheckpoint.handlers._files.leftovers import clear_leftovers, clear_unowned, lock_path
from aiocheckpoint.handlers._files.lock import FileLock
from aiocheckpoint.handlers._files.reading import open_regular
from aiocheckpoint.handlers._files.replace import (
    find_destination,
    make_directory,
    replace_file,
)
from aiocheckpoint.handlers._identifiers import (
    absolute_path,
    checked_path,
    checked_run_id,
    flow_name,
)
from aiocheckpoint.handlers._query import select
from aiocheckpoint.handlers._retention import Keep, checked_keep
from aiocheckpoint.handlers.local._history import RetainedSnapshots
from aiocheckpoint.handlers.local._paths import RunPaths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._snapshot.target import SnapshotTarget
    from aiocheckpoint.handlers._port import Lock, SnapshotOptions
    from aiocheckpoint.handlers._query import Query

__all__ = ["LocalStateHandler"]


class LocalStateHandler(StateHandler):
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
        flow: Name of the flow, by default the file name without its ending, as for
            `CheckpointFlow`.
        options: `secret=`, `allow=` and `verify=`, see `SnapshotOptions`.

    Attributes:
        path: The path given.
        fsync: Whether each write waits for the disk.
        keep: How many snapshots of each run are kept.
        flow: Name of the flow.
        key_ids: Ids of the secrets, as `Header.signed_by` has them.

    Raises:
        InvalidTypeError, InvalidValueError: `path` is no path, or an option is invalid.
        StorageError: `path` is relative, and the working directory was deleted.
    """

    _shown_options = (("fsync", True), ("keep", 1))

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fsync: bool = True,
        keep: Keep = 1,
        flow: str | None = None,
        **options: Unpack[SnapshotOptions],
    ) -> None:
        text = checked_path(path)
        super().__init__(flow_name(text) if flow is None else flow, **options)
        self.path: str | os.PathLike[str] | None = path
        self.fsync = fsync
        self.keep: Keep = checked_keep(keep)
        # The working directory may change between two snapshots of one run.
        full = absolute_path(text)
        slashes = tuple(filter(None, (os.sep, os.altsep)))
        self._paths = RunPaths(full, directory=text.endswith(slashes) or os.path.isdir(full))

    def locate(self, run_id: str | None = None) -> str:
        """The absolute path of a run's file."""
        return self._paths.path(checked_run_id(run_id))

    def lock(self, run_id: str | None = None) -> FileLock:
        """The lock of a run: the kernel's, on a hidden file beside it."""
        return _RunLock(self.locate(run_id), one_of_many=run_id is not None)

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
        destination = find_destination(path)
        around = None
        if self.keep != 1 or not destination.exists:
            retained = RetainedSnapshots(destination.target, self.keep)
            manage = retained.retaining if destination.exists else retained.beginning
            around = partial(manage, amends=amends)
        check = lock.check if isinstance(lock, FileLock) else None
        return replace_file(destination, write_to, fsync=self.fsync, check=check, around=around)

    def remove(self, run_id: str | None = None, *, lock: Lock | None = None) -> None:
        """Delete a run's file and its retained snapshots, if there are any. A link stays.

        Raises:
            StorageError: They cannot be deleted.
            LeaseLostError: `lock` is not held, or its file was deleted. Nothing was deleted.
            RunInProgressError: No `lock` is given, and another owner has it.
        """
        path = self.locate(run_id)
        with self.hold_or_check(run_id, lock) as held:
            try:
                if isinstance(held, FileLock):
                    held.check()
                self._retained(path).clear()
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.realpath(path))
            except OSError as error:
                raise StorageError.of(path, "deleting", error) from error

    def runs(self, query: Query) -> list[Header]:
        """List the headers of the runs in this directory, the latest begun first.

        The end of each file is read. `Header.owner` stays None: files do not name owners. Lock
        files and temporary files of killed owners are deleted.

        Raises:
            StorageError: The directory cannot be read.
        """
        return select(self._headers(clears=query.after is None), query)

    def _headers(self, *, clears: bool) -> Iterator[Header]:
        try:
            paths, leftovers = self._paths.found()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError.of(self.locate(), "listing the directory of", error) from error
        if leftovers and clears:
            clear_unowned(self._paths.directory, leftovers)
        for path in paths:
            header = self._header_at(path)
            if header is not None:
                yield header

    def _header_at(self, path: str) -> Header | None:
        try:
            with contextlib.closing(open_regular(path) or io.BytesIO()) as file:
                found = self.codec.open(file, path)
            if found is None:
                return None
            self.check_run(found.header, self._id_at(path, found.header), path)
        except CheckpointError as error:
            log_left_out(error)
            return None
        return found.header

    def _id_at(self, path: str, header: Header) -> str | None:
        """The header's run id if it maps to this file, else a text that equals no id."""
        fits = path == self.locate(header.run_id)
        return header.run_id if fits or not header.library else f"the one of {path}"

    def _retained(self, path: str) -> RetainedSnapshots:
        return RetainedSnapshots(os.path.realpath(path), self.keep)


class _RunLock(FileLock):
    """The lock of a run's file, which deletes temporary files when it is taken.

    Listing a directory of many runs takes long. There, it is done only after a killed owner.
    """

    def __init__(self, path: str, *, one_of_many: bool) -> None:
        # Two symbolic links to one file share its lock.
        super().__init__(lock_path(os.path.realpath(path)), path)
        self._target = path
        self._one_of_many = one_of_many

    def __repr__(self) -> str:
        return f"<_RunLock of {self._target!r}, {'held' if self.held else 'not held'}>"

    def acquire(self) -> None:
        make_directory(self._target)
        super().acquire()
        if self.inherited or not self._one_of_many:
            clear_leftovers(self._target)
