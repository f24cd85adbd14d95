"""Opening a regular file for reading. Directories, FIFOs and devices are refused."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from typing import TYPE_CHECKING, BinaryIO

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._files.databases import hold_if_database, refuse_protected

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["not_a_file", "open_regular"]

# Without O_NONBLOCK opening a FIFO waits for its writer.
_READ = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_READ_BYTES = 1 << 16


def open_regular(path: str) -> BinaryIO | None:
    """Open a file for reading, or give None where there is none.

    Raises:
        StorageError: The path is a directory, FIFO, socket, device or SQLite database, or cannot be
            read.
    """
    refuse_protected(path)
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError.of(path, "reading", error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise not_a_file(path)
    hold_if_database(path, descriptor)
    return io.BufferedReader(_Reading(path, descriptor), _READ_BYTES)


class _Reading(io.FileIO):
    """A file that raises `StorageError` where reading fails."""

    def __init__(self, path: str, descriptor: int) -> None:
        super().__init__(descriptor, "rb")
        self._path = path

    def close(self) -> None:
        # A failed close loses nothing after reading. Linux frees the descriptor, see close(2).
        with contextlib.suppress(OSError):
            super().close()

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


def not_a_file(path: str) -> StorageError:
    """The error for a path that is no regular file."""
    return StorageError(path, f"{path} is no regular file; choose the path of a file.")
