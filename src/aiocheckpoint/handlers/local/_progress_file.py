"""The record of a run's progress: a small hidden file beside the run's, never flushed.

It is replaced as a whole, since a process that is killed in the midst of a write may leave a part.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from aiocheckpoint._snapshot.progress_record import MOST_PROGRESS_BYTES
from aiocheckpoint.handlers._files.hidden_files import read_hidden
from aiocheckpoint.handlers._files.leftovers import lock_path, owner_of, progress_path
from aiocheckpoint.handlers._files.replace import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["clear_progress", "path_of_progress", "read_progress", "write_progress"]


def path_of_progress(target: str) -> str:
    """The file with the record of the run whose file is `target`."""
    return progress_path(lock_path(os.path.realpath(target)))  # Links to one file share it.


def read_progress(path: str) -> bytes | None:
    """Read a record, or the first bytes of one that is too large. None where there is none.

    Raises:
        StorageError: The file cannot be read, or is no regular file.
    """
    return read_hidden(path, MOST_PROGRESS_BYTES + 1)


def write_progress(path: str, record: bytes, *, check: Callable[[], None] | None) -> None:
    """Write a record in the place of the one before.

    Args:
        path: The file.
        record: The record.
        check: Checks the lock of the run, the last thing before the file is replaced.

    Raises:
        StorageError: The file cannot be written.
        LeaseLostError: Another process owns the run by now.
    """
    # No link is followed: the rename takes its place.
    destination = path, path, os.path.isfile(path) and not os.path.islink(path)
    run = owner_of(os.path.basename(path))
    replace_file(
        destination, lambda target: target.write(record), fsync=False, check=check, owner=run
    )


def clear_progress(path: str) -> None:
    """Delete a record, if there is one.

    Raises:
        OSError: The file cannot be deleted.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
