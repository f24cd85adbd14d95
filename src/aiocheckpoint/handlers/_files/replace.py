"""The durable replacement of a file: one blocking function.

The rules: write a temporary file in the same directory, flush it to the disk, rename it over the
target, flush the directory. Killed at any instant, the target is the old file or the new one.
Without the first flush a power cut after the rename can leave an empty file in place of the good
one; without the second, the old one can come back: see fsync(2), rename(2).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
from typing import TYPE_CHECKING, BinaryIO

from aiocheckpoint.errors import NotDurableError, StorageError
from aiocheckpoint.handlers._files.failpoints import reach
from aiocheckpoint.handlers._files.fsync import flush_data, flush_directory, flush_file
from aiocheckpoint.handlers._files.reading import no_file, open_regular
from aiocheckpoint.handlers._files.rename import exchange, rename
from aiocheckpoint.handlers.local._history import RetainedSnapshots

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer as Buffer

    from aiocheckpoint._model.header import Header
    from aiocheckpoint.handlers._retention import Keep

__all__ = ["FileTarget", "clear_leftovers", "make_directory", "replace_file"]

_INHERIT_NOTHING = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | _INHERIT_NOTHING
_MODE = 0o600
_DIRECTORY_MODE = 0o700
_RANDOM_BYTES = 8
_NUMBERS = 1 << 8 * _RANDOM_BYTES
_LARGE_BYTES = 1 << 23


class _Temporaries:
    """Names of temporary files, each another one, from a number on that nobody can guess.

    All are of one length, so that a long name of a file does not become too long one day.
    """

    def __init__(self) -> None:
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._numbers = itertools.count(int.from_bytes(os.urandom(_RANDOM_BYTES)))

    def beside(self, directory: str, name: str) -> str:
        """Give one for a file in the same directory."""
        number = next(self._numbers) % _NUMBERS
        return f"{directory}{os.sep}.{name}.{number:0{2 * _RANDOM_BYTES}x}.tmp"


_temporaries = _Temporaries()


class FileTarget:
    """The temporary file while it is written.

    Args:
        path: What it will be, for messages.
        temporary: The file.
        descriptor: The same, open for writing.
        fsync: Whether it will be flushed when it is whole.

    Attributes:
        length: How many bytes were written.
    """

    def __init__(self, path: str, temporary: str, descriptor: int, *, fsync: bool = False) -> None:
        self._path = path
        self._temporary = temporary
        self._descriptor = descriptor
        self._fsync = fsync
        self.length = 0

    def write(self, chunk: Buffer, /) -> None:
        """Write all of `chunk`, however short the system's writes are.

        Raises:
            StorageError: The system refused, for instance because the disk is full.
        """
        try:
            done = os.write(self._descriptor, chunk)
            size = memoryview(chunk).nbytes
            while done < size:
                done += os.write(self._descriptor, memoryview(chunk).cast("B")[done:])
            if self._fsync and size >= _LARGE_BYTES:
                flush_data(self._descriptor)  # while the digest is still being computed
        except OSError as error:
            raise StorageError.of(self._path, "writing", error) from error
        self.length += done

    def rewind(self) -> None:
        """Empty the file."""
        if self.length:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.ftruncate(self._descriptor, 0)
            self.length = 0

    def read_back(self) -> BinaryIO:
        """Open what was written for reading.

        Raises:
            StorageError: It cannot be read, or is not there any more.
        """
        file = open_regular(self._temporary)
        if file is None:
            raise StorageError(self._path, f"{self._temporary} was deleted by somebody else.")
        return file


def replace_file(
    path: str,
    emit: Callable[[FileTarget], Header],
    *,
    fsync: bool = True,
    keep: Keep = 1,
    amends: Header | None = None,
) -> tuple[Header, int]:
    """Replace the file at `path` by what `emit` writes, whole or not at all.

    The new file has mode 0600. Where `path` is a symbolic link, the file it points to is replaced.

    Args:
        path: The file; its directory exists.
        emit: Called once with the temporary file, open for writing; returns the header written.
        fsync: Whether to wait until the disk has it. Without, a power cut may undo or empty
            what was written; a killed process still leaves the old file or the new one.
        keep: How many of the files that were here are kept, see `RetainedSnapshots`.
        amends: The header of the file here, where the new one only tells more of the same state.

    Returns:
        What `emit` returned, and the number of bytes written.

    Raises:
        StorageError: Nothing was replaced, or, for its kind `NotDurableError`, the new file is in
            place but may not outlive a power cut.
    """
    try:
        target, exists = _resolve(path)
        kept = None if keep == 1 and exists else RetainedSnapshots(target, keep)
        if kept is not None and not exists:
            kept.clear()  # of a file that was deleted or emptied
        directory, _, name = target.rpartition(os.sep)
        temporary = _temporaries.beside(directory, name)
        try:
            header, length = _fill(path, temporary, emit, fsync=fsync)
            if kept is None or keep == 1:
                _swap(temporary, target, exists=exists, fsync=fsync)
            else:
                with kept.adding(temporary, header):
                    reach("kept")
                    _swap(temporary, target, exists=exists, fsync=fsync)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except StorageError:
        raise
    except OSError as error:
        raise StorageError.of(path, "writing", error) from error
    if fsync:
        _flush_entry(path, directory or os.sep)
    if kept is not None and keep != 1:
        kept.prune(header, amends)
    return header, length


def _resolve(path: str) -> tuple[str, bool]:
    """Follow a symbolic link, and tell whether something is stored there already."""
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            path = os.path.realpath(path)
            found = os.stat(path)
    except FileNotFoundError:
        return path, False
    if not stat.S_ISREG(found.st_mode):
        raise no_file(path)
    return path, found.st_size > 0


def _fill(
    path: str, temporary: str, emit: Callable[[FileTarget], Header], *, fsync: bool
) -> tuple[Header, int]:
    descriptor = os.open(temporary, _CREATE, _MODE)
    try:
        reach("created")
        target = FileTarget(path, temporary, descriptor, fsync=fsync)
        header = emit(target)
        reach("written")
        if fsync:
            flush_file(descriptor)
            reach("flushed")
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    os.close(descriptor)
    reach("closed")
    return header, target.length


def _swap(temporary: str, target: str, *, exists: bool, fsync: bool) -> None:
    """Let the temporary file take the place of the target."""
    if exists and not fsync and exchange(temporary, target):
        with contextlib.suppress(OSError):  # the next run clears it
            os.unlink(temporary)
    else:
        rename(temporary, target, durable=fsync)
    reach("renamed")


def _flush_entry(path: str, directory: str) -> None:
    try:
        flush_directory(directory)
        reach("durable")
    except OSError as error:
        raise NotDurableError(
            path,
            f"{path} was written, but flushing its directory failed: {error.strerror}. It is "
            "whole and will be read, yet a power cut could still bring back the one before.",
            errno=error.errno,
        ) from error


def make_directory(path: str) -> None:
    """Make the directory that `path` lies in, and those above it, each durably, for us alone.

    Raises:
        StorageError: One of them cannot be made.
    """
    missing: list[str] = []
    directory = os.path.dirname(path)
    while not os.path.isdir(directory) and directory != os.path.dirname(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    try:
        for directory in reversed(missing):
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory, _DIRECTORY_MODE)
            flush_directory(os.path.dirname(directory))
    except OSError as error:
        raise StorageError.of(path, "making the directory of", error) from error


def clear_leftovers(path: str) -> None:
    """Delete the temporary files that killed writers of `path` left; call it under its lock."""
    target = os.path.realpath(path)
    directory, name = os.path.split(target)
    pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{{2 * _RANDOM_BYTES}}}\.tmp")
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name):
                os.unlink(entry.path)
