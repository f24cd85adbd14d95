"""The durable replacement of a file: one blocking function.

The rules: write a temporary file in the same directory, flush it to the disk, rename it over the
target, flush the directory. Killed at any instant, the process leaves the old file or the new one.
Without the first flush a power cut after the rename can leave an empty file in place of the good
one. Without the second, the old one can come back: see fsync(2), rename(2).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeVar

from aiocheckpoint.errors import NotDurableError, StorageError
from aiocheckpoint.handlers._files.failpoints import reach
from aiocheckpoint.handlers._files.fsync import flush_data, flush_directory, flush_file
from aiocheckpoint.handlers._files.leftovers import TEMPORARY_DIGITS
from aiocheckpoint.handlers._files.reading import not_a_file, open_regular
from aiocheckpoint.handlers._files.rename import exchange, rename

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from _typeshed import ReadableBuffer as Buffer


__all__ = [
    "Destination",
    "FileTarget",
    "find_destination",
    "make_directory",
    "replace_file",
]

_Result = TypeVar("_Result")

_INHERIT_NOTHING = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | _INHERIT_NOTHING
_MODE = 0o600
_DIRECTORY_MODE = 0o700
_NUMBERS = 16**TEMPORARY_DIGITS
_LARGE_BYTES = 1 << 19


class _Temporaries:
    """Unique names of temporary files, counted up from a random number.

    All have one length, so that a name that fits once fits always.
    """

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._numbers = itertools.count(int.from_bytes(os.urandom(TEMPORARY_DIGITS // 2)))

    def beside(self, directory: str, name: str) -> str:
        """Give a name for a temporary file of the file `name`, in its directory."""
        number = next(self._numbers) % _NUMBERS
        return f"{directory}{os.sep}.{name}.{number:0{TEMPORARY_DIGITS}x}.tmp"


_temporaries = _Temporaries()


class FileTarget:
    """The temporary file while it is written.

    Args:
        path: The file that it will replace, for messages.
        temporary: The temporary file.
        descriptor: The same, open for writing.
        fsync: Whether the complete file will be flushed.

    Attributes:
        length: Number of bytes written.
    """

    __slots__ = ("_descriptor", "_flushed", "_fsync", "_path", "_temporary", "length")

    def __init__(self, path: str, temporary: str, descriptor: int, *, fsync: bool = False) -> None:
        self._path = path
        self._temporary = temporary
        self._descriptor = descriptor
        self._fsync = fsync
        self._flushed = 0
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
            self.length += done
            if size >= _LARGE_BYTES and self._fsync and self.length >= 2 * self._flushed:
                # Beside the computation of the digest. Not after every one of many large pieces,
                # since each flush waits for the disk.
                flush_data(self._descriptor)
                self._flushed = self.length
        except OSError as error:
            raise StorageError.of(self._path, "writing", error) from error

    def rewind(self) -> None:
        """Empty the file."""
        if self.length:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.ftruncate(self._descriptor, 0)
            self.length = self._flushed = 0

    def read_back(self) -> BinaryIO:
        """Open the written bytes for reading.

        Raises:
            StorageError: The file cannot be read, or was deleted.
        """
        file = open_regular(self._temporary)
        if file is None:
            raise StorageError(self._path, f"{self._temporary} was deleted by another program.")
        return file


Destination: TypeAlias = tuple[str, str, bool]
"""The file to be replaced: the path given, for messages, the file itself, behind any symbolic link,
and whether it is there and not empty."""


def find_destination(path: str) -> Destination:
    """Look at the file at `path`, or at the one that a symbolic link there points to.

    Raises:
        StorageError: The path cannot be looked at, or is no regular file.
    """
    target = path
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            target = os.path.realpath(path)
            found = os.stat(target)
    except FileNotFoundError:
        return path, target, False
    except OSError as error:
        raise StorageError.of(path, "writing", error) from error
    if not stat.S_ISREG(found.st_mode):
        raise not_a_file(target)
    return path, target, found.st_size > 0


def replace_file(
    destination: Destination,
    write_to: Callable[[FileTarget], _Result],
    *,
    fsync: bool = True,
    check: Callable[[], None] | None = None,
    around: Callable[[str, _Result], AbstractContextManager[object]] | None = None,
    owner: str | None = None,
) -> tuple[_Result, int]:
    """Replace a file by the bytes that `write_to` writes, whole or not at all.

    The new file has mode 0600.

    Args:
        destination: The file. Its directory exists.
        write_to: Called once with the temporary file, open for writing.
        fsync: Whether to wait until the disk has the file. Without, a power cut may undo the
            replacement or leave an empty file. A killed process still leaves the old file or the
            new one.
        check: Called when the temporary file is complete, the last thing before the file is
            replaced. An exception of it leaves the file as it is.
        around: Called with the path of the complete temporary file and the result of `write_to`.
            Gives a context manager, in which the file is renamed and its directory flushed.
        owner: Name of the file that the temporary file is named for, so that the next owner of that
            file deletes it. By default that of the file.

    Returns:
        The result of `write_to`, and the number of bytes written.

    Raises:
        StorageError: Nothing was replaced, or, for its kind `NotDurableError`, the new file is in
            place but may not outlive a power cut.
    """
    path, target, _ = destination
    directory, _, name = target.rpartition(os.sep)
    temporary, is_complete = _temporaries.beside(directory, owner or name), False
    try:
        result, length = _fill(path, temporary, write_to, fsync=fsync)
        is_complete = True
        if check is not None:
            check()
        if around is None:
            _place(destination, temporary, directory, fsync=fsync)
        else:
            with around(temporary, result):
                _place(destination, temporary, directory, fsync=fsync)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if check is not None and is_complete and getattr(error, "errno", None) == errno.ENOENT:
            check()  # A successor has deleted the temporary file of an owner that was late.
        if isinstance(error, OSError) and not isinstance(error, StorageError):
            raise StorageError.of(path, "writing", error) from error
        raise
    return result, length


def _fill(
    path: str, temporary: str, write_to: Callable[[FileTarget], _Result], *, fsync: bool
) -> tuple[_Result, int]:
    descriptor = os.open(temporary, _CREATE, _MODE)
    try:
        reach("created")
        target = FileTarget(path, temporary, descriptor, fsync=fsync)
        result = write_to(target)
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
    return result, target.length


def _place(destination: Destination, temporary: str, directory: str, *, fsync: bool) -> None:
    """Rename the temporary file over the target, and flush their directory."""
    path, target, exists = destination
    if exists and not fsync and exchange(temporary, target):
        with contextlib.suppress(OSError):  # The next run deletes a leftover.
            os.unlink(temporary)
    else:
        rename(temporary, target, durable=fsync)
    reach("renamed")
    if fsync:
        _flush_entry(path, directory or os.sep)


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


def make_directory(path: str, *, fsync: bool = True) -> None:
    """Make the directory of `path` and its missing parents, with mode 0700.

    Args:
        path: The path.
        fsync: Whether to wait until the disk has them.

    Raises:
        StorageError: A directory cannot be made.
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
            if fsync:
                flush_directory(os.path.dirname(directory))
    except OSError as error:
        raise StorageError.of(path, "making the directory of", error) from error
