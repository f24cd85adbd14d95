"""The durable replacement of a file: one blocking function.

The rules: write a temporary file in the same directory, flush it to the disk, rename it over the
target, flush the directory. Killed at any instant, the target is the old file or the new one.
Without the first flush a power cut after the rename can leave an empty file in place of the good
one; without the second, the old one can come back: see fsync(2), rename(2).
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from aiocheckpoint.errors import NotDurableError, StorageError
from aiocheckpoint.handlers._exchange import exchange

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer as Buffer
    from _typeshed import WriteableBuffer

__all__ = ["FileTarget", "clear_leftovers", "make_directory", "open_regular", "replace_file"]

_Result = TypeVar("_Result")

_INHERIT_NOTHING = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | _INHERIT_NOTHING
# Without O_NONBLOCK opening a FIFO waits for its writer.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _INHERIT_NOTHING
_MODE = 0o600
_RANDOM_BYTES = 8
_READ_BYTES = 1 << 16


class FileTarget:
    """The temporary file while it is written."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
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
        except OSError as error:
            raise StorageError.of(self._path, "writing", error) from error
        self.length += done

    def rewind(self) -> None:
        """Empty the file."""
        if self.length:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.ftruncate(self._descriptor, 0)
            self.length = 0


def replace_file(
    path: str, emit: Callable[[FileTarget], _Result], *, fsync: bool = True
) -> tuple[_Result, int]:
    """Replace the file at `path` by what `emit` writes, whole or not at all.

    The new file has mode 0600. Where `path` is a symbolic link, the file it points to is replaced.

    Args:
        path: The file; its directory exists.
        emit: Called once with the temporary file, open for writing.
        fsync: Whether to wait until the disk has it. Without, a power cut may undo or empty
            what was written; a killed process still leaves the old file or the new one.

    Returns:
        What `emit` returned, and the number of bytes written.

    Raises:
        StorageError: Nothing was replaced, or, for its kind `NotDurableError`, the new file is in
            place but may not outlive a power cut.
    """
    try:
        target, exists = _resolve(path)
        directory, name = os.path.split(target)
        temporary = f"{directory}{os.sep}.{name}.{os.urandom(_RANDOM_BYTES).hex()}.tmp"
        try:
            result, length = _fill(path, temporary, emit, fsync=fsync)
            if exists and not fsync and exchange(temporary, target):
                with contextlib.suppress(OSError):  # the next run clears it
                    os.unlink(temporary)
            else:
                os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except StorageError:
        raise
    except OSError as error:
        raise StorageError.of(path, "writing", error) from error
    if fsync:
        _flush_entry(path, directory)
    return result, length


def _resolve(path: str) -> tuple[str, bool]:
    """Follow a symbolic link, and tell whether there is a file already."""
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            path = os.path.realpath(path)
            mode = os.stat(path).st_mode
    except FileNotFoundError:
        return path, False
    if not stat.S_ISREG(mode):
        raise _no_file(path)
    return path, True


def _no_file(path: str) -> StorageError:
    return StorageError(path, f"{path} is no regular file; choose the path of a file.")


def _fill(
    path: str, temporary: str, emit: Callable[[FileTarget], _Result], *, fsync: bool
) -> tuple[_Result, int]:
    descriptor = os.open(temporary, _CREATE, _MODE)
    try:
        target = FileTarget(path, descriptor)
        result = emit(target)
        if fsync:
            os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    os.close(descriptor)
    return result, target.length


def _flush_entry(path: str, directory: str) -> None:
    try:
        flush_directory(directory)
    except OSError as error:
        raise NotDurableError(
            path,
            f"{path} was written, but flushing its directory failed: {error.strerror}. It is "
            "whole and will be read, yet a power cut could still bring back the one before.",
            errno=error.errno,
        ) from error


def flush_directory(directory: str) -> None:
    """Make the entries of a directory durable; Windows has no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: str) -> None:
    """Make the directory that `path` lies in, and those above it, each durably.

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
                os.mkdir(directory)
            flush_directory(os.path.dirname(directory))
    except OSError as error:
        raise StorageError.of(path, "making the directory of", error) from error


def open_regular(path: str) -> BinaryIO | None:
    """Open a file for reading, or give None where there is none.

    Raises:
        StorageError: What is there is a directory, FIFO, socket or device, or cannot be read.
    """
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError.of(path, "reading", error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_file(path)
    return io.BufferedReader(_Reading(path, descriptor), _READ_BYTES)


class _Reading(io.FileIO):
    """A file whose read errors are those of the library."""

    def __init__(self, path: str, descriptor: int) -> None:
        super().__init__(descriptor, "rb")
        self._path = path

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise StorageError.of(self._path, "reading", error) from error

    def readall(self) -> bytes:
        try:
            return super().readall()
        except OSError as error:
            raise StorageError.of(self._path, "reading", error) from error


def clear_leftovers(path: str) -> None:
    """Delete the temporary files that killed writers of `path` left; call it under its lock."""
    target = os.path.realpath(path)
    directory, name = os.path.split(target)
    pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{{2 * _RANDOM_BYTES}}}\.tmp")
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name):
                os.unlink(entry.path)
