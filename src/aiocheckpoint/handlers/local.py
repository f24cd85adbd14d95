"""Snapshots in local files, one for each run."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, BinaryIO

from aiocheckpoint.errors import InvalidTypeError, StorageError
from aiocheckpoint.handlers._atomic import (
    clear_leftovers,
    make_directory,
    open_regular,
    replace_file,
)
from aiocheckpoint.handlers._base import StateHandler
from aiocheckpoint.handlers._lock import FileLock
from aiocheckpoint.handlers._names import check_run_id, run_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._header import Header
    from aiocheckpoint._serializer import Target

__all__ = ["LocalStateHandler"]


class LocalStateHandler(StateHandler):
    """Keeps each run's snapshot in a file of its own, replaced atomically and durably.

    Args:
        path: The file, such as "checkpoint.pkl"; `~` is the user's home. Missing directories are
            made by the first run. Runs with an id lie beside it: `order-42` in
            "checkpoint.order-42.pkl".
        fsync: Whether each write waits until the disk has it. False gives up what a power cut
            takes, never that a killed process leaves the old snapshot or the new one. On ext4
            it also gives up that the system writes out a file that is renamed over another.

    Attributes:
        path: The path as it was given.
        fsync: As it was given.

    Raises:
        InvalidTypeError: `path` is no path.
    """

    def __init__(self, path: str | os.PathLike[str], *, fsync: bool = True) -> None:
        try:
            text = os.fspath(path)
        except TypeError:
            text = None
        if not isinstance(text, str) or not text:
            raise InvalidTypeError(
                f"the path of a checkpoint is a string or Path that is not empty, not {path!r}."
            )
        self.path = path
        self.fsync = fsync
        # The working directory may change between two snapshots of one run.
        self._path = os.path.abspath(os.path.expanduser(text))

    def locate(self, run_id: str | None = None) -> str:
        """The absolute path of a run's file."""
        return run_path(self._path, check_run_id(run_id))

    def lock(self, run_id: str | None = None) -> FileLock:
        """The lock of a run: the kernel's, on a hidden file beside it."""
        return _RunLock(self.locate(run_id))

    def open(self, run_id: str | None = None) -> BinaryIO | None:
        """Open a run's file, or give None where there is none.

        Raises:
            StorageError: It cannot be read, or is no regular file.
        """
        return open_regular(self.locate(run_id))

    def replace(self, run_id: str | None, emit: Callable[[Target], Header]) -> tuple[Header, int]:
        """Replace a run's file by what `emit` writes.

        Raises:
            StorageError: It cannot be written and is as it was; or, for `NotDurableError`, it was
                written but may not outlive a power cut.
        """
        return replace_file(self.locate(run_id), emit, fsync=self.fsync)

    def remove(self, run_id: str | None = None) -> None:
        """Delete a run's file, if there is one.

        Raises:
            StorageError: It cannot be deleted.
        """
        path = self.locate(run_id)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        except OSError as error:
            raise StorageError.of(path, "deleting", error) from error


class _RunLock(FileLock):
    """The lock of a run's file, which tidies up when it is taken."""

    def __init__(self, path: str) -> None:
        # Two links to one file are one place.
        directory, name = os.path.split(os.path.realpath(path))
        super().__init__(os.path.join(directory, f".{name}.lock"), path)
        self._target = path

    def acquire(self) -> None:
        make_directory(self._target)
        super().acquire()
        clear_leftovers(self._target)
