"""What is kept beside the file of a run, each in a hidden file: start, ending and progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint.errors import LeaseLostError, StorageError
from aiocheckpoint.handlers._base import StateHandler
from aiocheckpoint.handlers._files.leftovers import ending_path, progress_path
from aiocheckpoint.handlers.local._ending_file import (
    EndingFiles,
    clear_ending,
    path_of_ending,
    read_ending,
    write_ending,
)
from aiocheckpoint.handlers.local._progress_file import (
    clear_progress,
    path_of_progress,
    read_progress,
    write_progress,
)
from aiocheckpoint.handlers.local._run_lock import RunLock
from aiocheckpoint.handlers.local._start_file import read_start, write_start

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiocheckpoint._model.start_record import StartRecord
    from aiocheckpoint.handlers._locks import Lock

__all__ = ["RecordFiles"]


class RecordFiles(StateHandler):
    """The methods of `LocalStateHandler` for the small records of a run.

    Attributes:
        fsync: Whether each write of a request waits for the disk.
    """

    fsync: bool
    _endings: EndingFiles

    def read_start(self, run_id: str | None = None) -> StartRecord | None:
        """Read the record of the last start of a run, from a hidden file beside the run's."""
        return read_start(self.locate(run_id))

    def write_start(
        self, run_id: str | None, record: StartRecord | None, *, lock: Lock | None = None
    ) -> None:
        """Write the record of a start, without waiting for the disk, or delete it."""
        path = self.locate(run_id)
        try:
            if isinstance(lock, RunLock):
                lock.check()
            write_start(path, record)
        except OSError as error:
            raise StorageError.of(path, "recording the start of", error) from error

    def write_ending(self, run_id: str | None, reason: str) -> None:
        """Write the request to terminate a run into a hidden file beside the run's."""
        path = self.locate(run_id)
        try:
            write_ending(path_of_ending(path), reason, fsync=self.fsync)
        except OSError as error:
            raise StorageError.of(path, "writing the request to terminate", error) from error

    def clear_ending(self, run_id: str | None, lock: Lock) -> None:
        """Delete the request to terminate a run, if the lock is still held."""
        path = self._path_of_ending(run_id, lock)
        try:
            if isinstance(lock, RunLock):
                lock.check()
        except LeaseLostError:
            return  # It is a request to the next owner.
        except OSError as error:
            raise StorageError.of(path, "deleting", error) from error
        clear_ending(path)

    def read_ending(self, run_id: str | None, *, lock: Lock | None = None) -> str | None:
        """Read the reason of the request to terminate a run."""
        return read_ending(self._path_of_ending(run_id, lock))

    def endings(self, run_ids: Iterable[str | None]) -> dict[str | None, str]:
        """Look for the file of a request of each of these runs."""
        return self._endings.found(run_ids)

    def _path_of_ending(self, run_id: str | None, lock: Lock | None) -> str:
        if isinstance(lock, RunLock):  # It has resolved the path already.
            return ending_path(lock.file)
        return path_of_ending(self.locate(run_id))

    def read_progress(self, run_id: str | None = None, *, lock: Lock | None = None) -> bytes | None:
        """Read the record of a run's progress, from a hidden file beside the run's."""
        return read_progress(self._path_of_progress(self.locate(run_id), lock))

    def write_progress(self, run_id: str | None, record: bytes | None, *, lock: Lock) -> None:
        """Write the record of a run's progress, without waiting for the disk, or delete it."""
        path = self.locate(run_id)
        check = lock.check if isinstance(lock, RunLock) else None
        file = self._path_of_progress(path, lock)
        if not lock.held:
            raise LeaseLostError(path)
        try:
            if record is not None:
                write_progress(file, record, check=check)
                return
            if check is not None:
                check()
            clear_progress(file)
        except StorageError:
            raise
        except OSError as error:
            raise StorageError.of(path, "recording the progress of", error) from error

    def clear_records(self, path: str, lock: Lock) -> None:
        """Delete what is beside the file of a run, under its lock.

        Raises:
            OSError, StorageError: A file cannot be deleted.
        """
        write_start(path, None)
        clear_ending(ending_path(lock.file) if isinstance(lock, RunLock) else path_of_ending(path))
        clear_progress(self._path_of_progress(path, lock))

    @staticmethod
    def _path_of_progress(path: str, lock: Lock | None) -> str:
        if isinstance(lock, RunLock):  # It has resolved the path already.
            return progress_path(lock.file)
        return path_of_progress(path)
