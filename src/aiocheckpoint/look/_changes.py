"""Whether a store may have changed since the last look, for the price of a few looks at files.

Any process may change a store, so there is nothing to subscribe to. A change of a file shows in its
time and length, a replaced file in the time of its directory, and a commit of a database in those
of its "-wal". No connection to a database is held between two looks: one that stays open would keep
the last process that closes the database from copying the "-wal" into it.
"""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, NoReturn

from aiocheckpoint.handlers._files.leftovers import (
    ending_path,
    lock_path,
    progress_path,
    start_path,
)
from aiocheckpoint.handlers._files.marks import FileMark

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

__all__ = ["Changes", "files_of_database", "files_of_directory", "files_of_run"]

POLL_SECONDS = 0.25
"""Between two looks."""
ASKING_SECONDS = 1.0
"""Between two looks at a store without files, such as a server that many ask."""
ANYWAY_SECONDS = 5.0
"""After which a store counts as changed. No file changes when a process is killed."""
REST = 4.0
"""A caller that takes long is called again after so many times as long."""


def files_of_database(path: str) -> tuple[str, ...]:
    """The files that change with each commit of a database."""
    return path, f"{path}-wal"


def files_of_directory(path: str, *, directory: bool) -> tuple[str, ...]:
    """The files that change with each snapshot of any run in a place of files.

    Args:
        path: The directory, or the file of the run without an id, beside which the others are.
        directory: Whether it is a directory.
    """
    return (path,) if directory else (path, os.path.dirname(os.path.realpath(path)))


def files_of_run(path: str) -> tuple[str, ...]:
    """The files that change with a run that has a file of its own.

    Args:
        path: The file.
    """
    target = os.path.realpath(path)
    lock = lock_path(target)
    return path, target, lock, start_path(target), ending_path(lock), progress_path(lock)


class Changes:
    """Looks whether a store may have changed, by whatever process.

    A change is never missed, but for those that change no file: the end of a killed process. A
    change may be told where there was none. One object is used by one thread at a time.

    Args:
        files: The files to look at. None where it is unknown how the store keeps its runs: each
            look then finds a change.
    """

    def __init__(self, files: Iterable[str] | None) -> None:
        self._files = None if files is None else tuple(files)
        self._marks: tuple[FileMark, ...] | None = None

    def look(self) -> bool:
        """Whether the store may have changed since the last look. True for the first one."""
        if self._files is None:
            return True
        marks = tuple(map(FileMark.of_any, self._files))
        changed = marks != self._marks
        self._marks = marks if all(map(FileMark.is_settled, marks)) else None
        return changed

    def follow(self) -> Generator[None, None, NoReturn]:
        """Yield at once, then each time when the store may have changed, for ever.

        A caller that takes long is given a longer pause, so that it takes a fifth of the time.
        """
        heard, pause = -math.inf, ASKING_SECONDS if self._files is None else POLL_SECONDS
        while True:
            begun = time.monotonic()
            if self.look() or begun - heard >= ANYWAY_SECONDS:
                heard = begun
                yield
            time.sleep(max(pause, REST * (time.monotonic() - begun)))
