"""Files that killed owners leave behind: lock files, temporary files, and small records.

They harm nobody: the kernel freed the lock, and the next owner of the run deletes them. A run that
is finished has no next owner, so a listing of the directory deletes them as well. Of an unfinished
run, the lock file stays until its next owner has seen that the last one was killed.
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
    from collections.abc import Container, Generator, Iterable, Mapping

__all__ = [
    "TEMPORARY_DIGITS",
    "clear_leftovers",
    "clear_unowned",
    "ending_path",
    "lock_path",
    "owner_of",
    "progress_path",
    "start_path",
]

TEMPORARY_DIGITS = 16
"""Hexadecimal digits in the name of a temporary file."""

_LEFTOVER = re.compile(
    rf"\.(.+)\.(?:lock|start|end|progress|[0-9a-f]{{{TEMPORARY_DIGITS}}}\.tmp)", re.DOTALL
)
_OF_UNFINISHED = (".lock", ".start", ".end", ".progress")
_ENDINGS = (*_OF_UNFINISHED, ".tmp")
_TRIES = 1000
_PAUSE_SECONDS = 0.001


def lock_path(target: str) -> str:
    """The lock file of a file."""
    directory, name = os.path.split(target)
    return os.path.join(directory, f".{name}.lock")


def start_path(target: str) -> str:
    """The file with the record of the last start of a run, beside the run's file."""
    directory, name = os.path.split(target)
    return os.path.join(directory, f".{name}.start")


def ending_path(lock: str) -> str:
    """The file with the request to terminate a run, beside its lock file."""
    return f"{lock.removesuffix('.lock')}.end"


def progress_path(lock: str) -> str:
    """The file with the record of a run's progress, beside its lock file."""
    return f"{lock.removesuffix('.lock')}.progress"


def owner_of(name: str) -> str | None:
    """The name of the file that one of the files above belongs to. None for other files."""
    found = _LEFTOVER.fullmatch(name) if name.endswith(_ENDINGS) else None
    return None if found is None else found[1]


def clear_leftovers(target: str) -> None:
    """Delete the temporary files of killed writers of a file. Call it under the lock of the file.

    Args:
        target: The path of the file, without symbolic links.
    """
    directory, name = os.path.split(target)
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if owner_of(entry.name) == name and entry.name.endswith(".tmp"):
                os.unlink(entry.path)


def clear_unowned(
    directory: str, leftovers: Mapping[str, Iterable[str]], unfinished: Container[str] = ()
) -> None:
    """Delete lock files and temporary files, except those of runs that a process owns.

    Nothing is raised: a reader of the directory may have no right to delete.

    Args:
        directory: The directory.
        leftovers: For the name of each run's file, the names of these files.
        unfinished: The names of the files of unfinished runs, of which temporary files alone are
            deleted.
    """
    with contextlib.suppress(OSError), _cleaning(directory):
        for name, files in leftovers.items():
            lock = FileLock(lock_path(os.path.join(directory, name)), name)
            kept = _OF_UNFINISHED if name in unfinished else (".lock",)
            others = [os.path.join(directory, one) for one in files if not one.endswith(kept)]
            with contextlib.suppress(OSError):
                lock.clear(others, keeps_file=name in unfinished)


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
        with contextlib.suppress(OSError):
            unlock_file(descriptor)
        os.close(descriptor)


def _lock_patiently(descriptor: int) -> None:
    for _ in range(_TRIES):
        if lock_file(descriptor):
            return
        time.sleep(_PAUSE_SECONDS)
    raise BlockingIOError
