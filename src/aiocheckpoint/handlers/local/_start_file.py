"""The record of the last start of a run: a small hidden file beside the run's, never flushed.

A run that is begun has none. It is written when a run is resumed, and deleted at the run's end
unless it says more than the header.
"""

from __future__ import annotations

import contextlib
import os

from aiocheckpoint._model.start_record import StartRecord
from aiocheckpoint.handlers._files.hidden_files import open_hidden
from aiocheckpoint.handlers._files.leftovers import start_path
from aiocheckpoint.handlers._files.reading import open_regular

__all__ = ["read_start", "write_start"]

_MOST_BYTES = 1024


def read_start(target: str) -> StartRecord | None:
    """Read the record of the run whose file is `target`. None where there is none.

    Raises:
        StorageError: The file cannot be read, or is no regular file.
    """
    file = open_regular(_path(target))
    if file is None:
        return None
    with file:
        return StartRecord.decode(file.read(_MOST_BYTES))


def write_start(target: str, record: StartRecord | None) -> None:
    """Write the record of the run whose file is `target`, or delete it.

    Raises:
        OSError: The file cannot be written.
    """
    path = _path(target)
    if record is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    descriptor = open_hidden(path)
    try:
        # Never empty in between: a process that is killed here leaves one of the two records.
        length = os.write(descriptor, record.encode().encode())
        os.ftruncate(descriptor, length)
    finally:
        os.close(descriptor)


def _path(target: str) -> str:
    return start_path(os.path.realpath(target))  # As for the lock: links to one file share it.
