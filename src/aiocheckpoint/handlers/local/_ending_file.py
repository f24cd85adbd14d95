"""The request to terminate a run in progress: a small hidden file beside the run's.

Any process appends a line to it, and the owner of the run's lock deletes it. A line is appended by
one write between two newlines, so that no two processes cut each other's, and a piece of a line
that a killed one has left stays apart.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._ending_port import decode_reason, encode_reason
from aiocheckpoint.handlers._files.fsync import flush_directory, flush_file
from aiocheckpoint.handlers._files.hidden_files import open_hidden, read_hidden
from aiocheckpoint.handlers._files.leftovers import ending_path, lock_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["EndingFiles", "clear_ending", "path_of_ending", "read_ending", "write_ending"]


def path_of_ending(target: str) -> str:
    """The file of the request for the run whose file is `target`."""
    return ending_path(lock_path(os.path.realpath(target)))  # Links to one file share it.


def read_ending(path: str) -> str | None:
    """Read the reason of the first request that has one. None where no line is written whole.

    Raises:
        StorageError: The file cannot be read, or is no regular file.
    """
    requests = read_hidden(path)
    if requests is None:
        return None
    *lines, _ = requests.split(b"\n")
    reasons = [decode_reason(line + b"\n") or "" for line in lines if line]
    return next(filter(None, reasons), "") if reasons else None


def write_ending(path: str, reason: str, *, fsync: bool) -> None:
    """Write a request, unless there is one.

    A process that is killed in the midst of it leaves a line without an end, which is no request.

    Raises:
        OSError: The file cannot be written.
        StorageError: Something else is in its place.
    """
    if read_ending(path) is not None:
        return
    descriptor = open_hidden(path, appends=True)
    try:
        line = b"\n" + encode_reason(reason).encode()
        if os.write(descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if fsync:
            flush_file(descriptor)
    finally:
        os.close(descriptor)
    if fsync:
        flush_directory(os.path.dirname(path))


def clear_ending(path: str) -> None:
    """Delete a request, if there is one.

    Raises:
        StorageError: The file cannot be deleted.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    except OSError as error:
        raise StorageError.of(path, "deleting", error) from error


class EndingFiles:
    """Looks for the requests of many runs, again and again.

    Args:
        locate: Gives the file of a run.
    """

    def __init__(self, locate: Callable[[str | None], str]) -> None:
        self._locate = locate
        # To resolve a path takes ten times as long as to look for a file.
        self._paths: dict[str | None, str] = {}

    def found(self, run_ids: Iterable[str | None]) -> dict[str | None, str]:
        """Read the reasons of the runs that have a request.

        Raises:
            StorageError: A file cannot be read.
        """
        known, self._paths = self._paths, {}
        reasons: dict[str | None, str] = {}
        for run_id in run_ids:
            path = known.get(run_id) or path_of_ending(self._locate(run_id))
            self._paths[run_id] = path
            reason = read_ending(path)
            if reason is not None:
                reasons[run_id] = reason
        return reasons
