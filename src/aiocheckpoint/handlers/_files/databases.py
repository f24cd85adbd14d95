"""Files that are SQLite databases, which no one else in this process may open and close.

POSIX drops all locks of a process on a file when the process closes any descriptor of it. SQLite's
locks would be gone, and another process that closes the database would delete the "-wal" file in
use (https://www.sqlite.org/howtocorrupt.html, section 2.2). So a database that is in use is not
opened here, and a database that was opened by mistake is never closed.
"""

from __future__ import annotations

import os

from aiocheckpoint.errors import StorageError

__all__ = ["file_identity", "hold_if_database", "protect", "refuse_protected", "unprotect"]

_MAGIC = b"SQLite format 3\0"
"""The first bytes of every database (https://www.sqlite.org/fileformat.html)."""

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
        # Keys, as a garbage collection may come between the values of a dict, and change it.
        in_use = [_in_use.get(connection) for connection in list(_in_use)]
        identity = file_identity(path)
        if identity is not None and (identity in in_use or identity in _held_open):
            raise _is_a_database(path)


def hold_if_database(path: str, descriptor: int) -> None:
    """Keep a descriptor open for ever if it is that of a database, and raise StorageError."""
    if hasattr(os, "pread") and os.pread(descriptor, len(_MAGIC), 0) == _MAGIC:
        status = os.fstat(descriptor)
        _held_open[status.st_dev, status.st_ino] = descriptor
        raise _is_a_database(path)


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
        f"with CheckpointFlow or open_handler.",
    )
