"""`replacing`: a user's own file or directory is replaced durably, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
from aiocheckpoint._concurrency.threads import prefer_cancellation, run_shielded_in_thread
from aiocheckpoint.errors import InvalidValueError
from aiocheckpoint.handlers._files.replacement import Replacement
from aiocheckpoint.handlers._identifiers import checked_path
from aiocheckpoint.handlers._urls import absolute_path

if TYPE_CHECKING:
    import os
    from types import TracebackType

__all__ = ["Replacing", "replacing"]

_THREADS = DaemonThreads("aiocheckpoint-replacing", 4)
"""Threads of their own, so that flushing gigabytes keeps no snapshot waiting."""


class Replacing:
    """The context manager that `replacing` gives, for `with` and `async with`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._replacement: Replacement | None = None

    def __repr__(self) -> str:
        return f"replacing({self._path!r})"

    def __enter__(self) -> Path:
        if self._replacement is not None:
            raise InvalidValueError(f"{self!r} is in use. Call replacing() for each `with` block.")
        self._replacement = Replacement(self._path)
        return Path(self._replacement.temporary)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        replacement, self._replacement = self._replacement, None
        if replacement is not None:
            if error is None:
                replacement.commit()
            else:
                replacement.discard()

    async def __aenter__(self) -> Path:
        cancellation = await run_shielded_in_thread(_THREADS, self.__enter__)
        if cancellation is not None:
            self._replacement = None  # Nothing was made.
            raise cancellation
        assert self._replacement is not None  # noqa: S101 - set in the thread
        return Path(self._replacement.temporary)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, GeneratorExit):  # A coroutine that is closed may not await.
            self.__exit__(kind, error, trace)
            return
        cancellation = await run_shielded_in_thread(_THREADS, self.__exit__, kind, error, trace)
        if error is not None:
            prefer_cancellation(cancellation, error)
        elif cancellation is not None:
            raise cancellation


def replacing(path: str | os.PathLike[str]) -> Replacing:
    """Replace a file or directory durably, whole or not at all: for savers.

    Write the new file, or make the new directory, at the path that the `with` block is given. It is
    beside the old one, has the same ending, and does not exist yet. At the end of the block it is
    flushed to the disk and renamed. So a process that is killed, or a power cut, leaves the old one
    or the new one, and once the block has ended the new one:

        with replacing("rows.parquet") as temporary:
            frame.to_parquet(temporary)

    `async with` does the same with all waiting for the disk in a thread. If the block raises, the
    old one stays, and the new one is deleted.

    The mode of the old one is kept. A symbolic link stays, and its target is replaced. What killed
    writers of this machine left in the directory is deleted when a process first uses it.

    A directory that is not empty is exchanged by one call on Linux, on the file systems that have
    it. Elsewhere it is renamed aside first: a process killed in between leaves nothing at the path.
    The next `replacing` in a new process puts the old directory back, a reader does not. A process
    that reads a directory while it is exchanged may find files of both.

    Args:
        path: The file or directory. Its parent directory exists.

    Returns:
        The context manager, which gives the temporary path.

    Raises:
        InvalidTypeError, InvalidValueError: `path` is no path.
        StorageError: At the beginning or the end of the block: the path cannot be used, nothing was
            written to the temporary path, or the disk refuses. A `NotDurableError`: the new one is
            in place, but may not outlive a power cut.
    """
    return Replacing(absolute_path(checked_path(path)))
