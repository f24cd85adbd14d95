"""Files that are SQLite databases, which no one else in this process may open and close.

POSIX drops all locks of a process on a file when the process closes any descriptor of it. SQLite's
locks would be gone, and another process that closes the database would delete the "-wal" file in
use (https://www.sqlite.org/howtocorrupt.html, section 2.2). So a database that is in use is not
opened here, and a database that was opened by mistake is never closed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from functools import partial
from typing import TYPE_CHECKING

from aiocheckpoint.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "file_identity",
    "hold_if_database",
    "is_database",
    "protect",
    "read_held",
    "refuse_database",
    "refuse_protected",
    "unprotect",
]

_MAGIC = b"SQLite format 3\0"
"""The first bytes of every database (https://www.sqlite.org/fileformat.html)."""

_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_PIECE_BYTES = 1 << 20

_in_use: dict[int, tuple[int, int]] = {}
"""The file of each connection, by the id of the object that stands for the connection."""

_held_open: dict[tuple[int, int], int] = {}
"""Descriptors by file. An open descriptor keeps its inode number from being used again."""


def protect(connection: object, identity: tuple[int, int]) -> None:
    """Note that a connection of SQLite has a file open in this process."""
    _in_use[id(connection)] = identity


def unprotect(connection: object) -> None:
    """Note that a connection was closed."""
    _in_use.pop(id(connection), None)


def refuse_protected(path: str) -> None:
    """Raise StorageError for a path that must not be opened."""
    if _in_use or _held_open:
        identity = file_identity(path)
        if identity is not None and _is_protected(identity):
            raise _is_a_database(path)


def _is_protected(identity: tuple[int, int]) -> bool:
    """Whether a file must not be opened."""
    # Keys, as a garbage collection may come between the values of a dict, and change it.
    in_use = [_in_use.get(connection) for connection in list(_in_use)]
    return identity in in_use or identity in _held_open


def is_database(path: str) -> bool:
    """Whether a regular file is a SQLite database. One that is stays open in this process.

    False for a path that cannot be looked at. On Windows, which has no `os.pread`, only a database
    that is in use in this process is known.

    Raises:
        StorageError: The file can be opened, and the disk does not answer the read.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return False
        if _is_protected((status.st_dev, status.st_ino)):
            return True
        descriptor = os.open(path, _READ)
    except OSError:
        return False
    if _held_if_database(path, descriptor):
        return True
    with contextlib.suppress(OSError):  # A failed close frees the number too, see close(2).
        os.close(descriptor)
    return False


def refuse_database(path: str) -> None:
    """Raise StorageError for a path at which a database is. The file is looked at once."""
    if is_database(path):
        raise _is_a_database(path)


def read_held(path: str) -> Iterator[bytes]:
    """Read a database's file piece by piece, by a descriptor that is never closed.

    Windows has no `os.pread`, and drops no lock of a process where another descriptor is closed.

    Raises:
        OSError: It cannot be read.
    """
    identity = file_identity(path)
    if identity is None:
        raise FileNotFoundError(path)
    if not hasattr(os, "pread"):
        with open(path, "rb") as file:
            yield from iter(partial(file.read, _PIECE_BYTES), b"")
        return
    if identity not in _held_open:
        _held_open[identity] = os.open(path, _READ)
    descriptor, offset = _held_open[identity], 0
    while piece := os.pread(descriptor, _PIECE_BYTES, offset):
        yield piece
        offset += len(piece)


def hold_if_database(path: str, descriptor: int) -> None:
    """Keep a descriptor open for ever if it is that of a database, and raise StorageError.

    A descriptor that cannot be read is closed, and StorageError raised as well.
    """
    if _held_if_database(path, descriptor):
        raise _is_a_database(path)


def _held_if_database(path: str, descriptor: int) -> bool:
    """Note a descriptor that stays open, and return True, if it is that of a database."""
    if not hasattr(os, "pread"):
        return False
    try:
        start = os.pread(descriptor, len(_MAGIC), 0)
    except OSError as error:
        os.close(descriptor)
        raise StorageError.of(path, "reading", error) from error
    if start != _MAGIC:
        return False
    status = os.fstat(descriptor)
    _held_open[status.st_dev, status.st_ino] = descriptor
    return True


def file_identity(path: str, *, follow: bool = True) -> tuple[int, int] | None:
    """Device and inode of the file at a path. None where there is none.

    Args:
        path: The path.
        follow: Whether a symbolic link stands for the file that it names.

    Raises:
        StorageError: The system refuses the look.
    """
    try:
        status = os.stat(path, follow_symlinks=follow)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError.of(path, "looking at", error) from error
    return status.st_dev, status.st_ino


def _is_a_database(path: str) -> StorageError:
    return StorageError(
        path,
        f"{path} is a SQLite database, not the file of one run. Use it as 'sqlite:///{path}', "
        f"with CheckpointFlow or open_handler, or give its path and handler='sqlite'.",
    )
