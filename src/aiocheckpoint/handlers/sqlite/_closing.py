"""Closing a connection without harm to other processes that use the database.

The last process to close a database copies the "-wal" into it and deletes the "-wal". SQLite knows
by locks whether it is the last. POSIX takes these locks away when a program opens and closes the
database's file, for instance to copy it inside the process that uses it
(https://www.sqlite.org/howtocorrupt.html, section 2.2). Acknowledged snapshots of that process
would then go into a deleted file. The lock files of owners do not suffer this, so they are asked.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import sys
from contextlib import suppress

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._files.databases import file_identity
from aiocheckpoint.handlers.sqlite._liveness import is_lock_held, owner_lock_files

__all__ = ["abandon", "close_untouched", "has_living_owner"]

_LOCK_START, _LOCK_BYTES = 0x40000002, 510
"""Bytes that SQLite locks to read (https://www.sqlite.org/src/file/src/os.h, SHARED_FIRST)."""


def has_living_owner(path: str) -> bool:
    """Whether a process holds the lock file of an owner, or may hold one that cannot be opened.

    Lock files of dead owners are deleted.
    """
    try:
        files = owner_lock_files(path)
    except OSError:
        return True
    return any(is_lock_held(file, path) is not False for _, file in files)


def close_untouched(connection: sqlite3.Connection, path: str, identity: tuple[int, int]) -> None:
    """Close a connection, and neither write nor delete a file of the database.

    Another process may use the files, or the path may belong to another database by now. SQLite has
    a setting for that. Python gives access to it since 3.12. Before, a lock has the same effect on
    Linux. Where the lock cannot be taken, the connection stays open. On other systems before Python
    3.12, SQLite decides by its own locks alone.

    Args:
        connection: The connection.
        path: The path of the database.
        identity: Device and inode of the file that the connection has open.
    """
    if sys.version_info >= (3, 12):
        with suppress(sqlite3.Error):
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)
        connection.close()
        return
    if sys.platform != "linux":
        connection.close()  # SQLite's own locks have to do.
        return
    try:
        files = _open_files(path, identity)
    except OSError:
        abandon(connection)
        return
    # A lock of the descriptor conflicts with the locks of this process itself, see fcntl(2). It
    # keeps SQLite from taking itself for the last to close.
    _set_lock(files[0].descriptor, fcntl.F_RDLCK)
    try:
        connection.close()
    finally:
        _set_lock(files[0].descriptor, fcntl.F_UNLCK)
    if not os.fstat(files[0].descriptor).st_nlink:
        _files.pop(identity, None)  # The file is deleted, and nobody needs its locks.


def abandon(connection: sqlite3.Connection) -> None:
    """Keep a connection for ever, neither used nor closed.

    SQLite allows neither in a forked child of the process that opened it
    (https://www.sqlite.org/howtocorrupt.html, section 2.6).
    """
    _abandoned.append(connection)
    with suppress(ImportError, AttributeError):  # Only CPython counts references.
        import ctypes  # noqa: PLC0415 - not needed in most processes

        # The interpreter's end frees the list, and a connection that is freed is closed.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


_abandoned: list[sqlite3.Connection] = []


class _OpenFile:
    """An open file, closed with its last reference: two threads may close connections at once."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        with suppress(AttributeError):  # It could not be opened.
            os.close(self.descriptor)


_files: dict[tuple[int, int], list[_OpenFile]] = {}
"""Open files by device and inode. Closing one would drop SQLite's locks of other connections. So a
second one, which another thread has opened at the same time, is kept as well."""


if sys.platform == "linux":
    import fcntl

    def _open_files(path: str, identity: tuple[int, int]) -> list[_OpenFile]:
        """Open the file, unless this process has done so. The first of the list is to be used.

        Raises:
            OSError: It cannot be opened.
        """
        files = _files.setdefault(identity, [])
        if not files:
            files.append(_OpenFile(_path_of(path, identity)))
        return files

    def _path_of(path: str, identity: tuple[int, int]) -> str:
        """Give a path of a file that this process has open, also where it was moved or deleted."""
        if file_identity(path) == identity:
            return path
        for name in os.listdir("/proc/self/fd"):
            link = f"/proc/self/fd/{name}"
            with suppress(OSError, StorageError):
                if file_identity(link) == identity:
                    return link
        raise FileNotFoundError(path)

    def _set_lock(descriptor: int, kind: int) -> None:
        # `struct flock` of 64-bit Linux, see fcntl(2). The process id has to be 0.
        lock = struct.pack("hhqqi4x", kind, os.SEEK_SET, _LOCK_START, _LOCK_BYTES, 0)
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
