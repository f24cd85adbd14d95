"""Files that killed owners leave behind: lock files and temporary files.

They harm nobody: the kernel freed the lock, and the next owner of the run deletes both. A run that
is finished has no next owner, so a listing of the directory deletes them as well.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from typing import TYPE_CHECKING

from aiocheckpoint.handlers._files.kernel_lock import lock_file, unlock_file
from aiocheckpoint.handlers._files.lock import FileLock

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

__all__ = ["TEMPORARY_DIGITS", "clear_leftovers", "clear_unowned", "lock_path", "owner_of"]

TEMPORARY_DIGITS = 16
"""Hexadecimal digits in the name of a temporary file."""

_LEFTOVER = re.compile(rf"\.(.+)\.(?:lock|[0-9a-f]{{{TEMPORARY_DIGITS}}}\.tmp)", re.DOTALL)
_ENDINGS = (".lock", ".tmp")
_TRIES = 1000
_PAUSE_SECONDS = 0.001


def lock_path(target: str) -> str:
    """The lock file of a file."""
    directory, name = os.path.split(target)
    return os.path.join(directory, f".{name}.lock")


def owner_of(name: str) -> str | None:
    """The name of the file that a lock file or temporary file belongs to. None for other files."""
    found = _LEFTOVER.fullmatch(name) if name.endswith(_ENDINGS) else None
    return None if found is None else found[1]


def clear_leftovers(path: str) -> None:
    """Delete the temporary files of killed writers of `path`. Call it under the lock of `path`."""
    directory, name = os.path.split(os.path.realpath(path))
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if owner_of(entry.name) == name and not entry.name.endswith(".lock"):
                os.unlink(entry.path)


def clear_unowned(directory: str, leftovers: Mapping[str, Iterable[str]]) -> None:
    """Delete lock files and temporary files, except those of runs that a process owns.

    Nothing is raised: a reader of the directory may have no right to delete.

    Args:
        directory: The directory.
        leftovers: For the name of each run's file, the names of these files.
    """
    with contextlib.suppress(OSError), _cleaning(directory):
        for name, files in leftovers.items():
            lock = FileLock(lock_path(os.path.join(directory, name)), name)
            temporaries = [os.path.join(directory, one) for one in files if one.endswith(".tmp")]
            with contextlib.suppress(OSError):
                lock.clear(temporaries)


@contextlib.contextmanager
def _cleaning(directory: str) -> Generator[None, None, None]:
    """Be the only cleaner of a directory, as `FileLock.clear` demands, or raise OSError."""
    if sys.platform == "win32":  # It has no such lock, and `FileLock.clear` needs none there.
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock_patiently(descriptor)
        yield
    finally:
        unlock_file(descriptor)
        os.close(descriptor)


def _lock_patiently(descriptor: int) -> None:
    for _ in range(_TRIES):
        if lock_file(descriptor):
            return
        time.sleep(_PAUSE_SECONDS)
    raise BlockingIOError
