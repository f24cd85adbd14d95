"""Closing connections without harm to other processes that use the database.

The last process to close a database copies the "-wal" into it and deletes the "-wal". SQLite knows
by locks whether it is the last. A process loses these locks when any of its code opens and closes
the database's file, for instance to copy it (https://www.sqlite.org/howtocorrupt.html, section
2.2). Its acknowledged snapshots would then go into a deleted file. The lock files of owners are not
lost in this way, so they are asked as well.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import suppress
from typing import NamedTuple

from aiocheckpoint.errors import RunInProgressError, StorageError
from aiocheckpoint.handlers._files.databases import unprotect
from aiocheckpoint.handlers._files.lock import FileLock

__all__ = ["OpenConnection", "abandon", "close", "owner_lock_path"]


class OpenConnection(NamedTuple):
    """A connection, and the database's file that it has open."""

    path: str
    connection: sqlite3.Connection
    identity: tuple[int, int]


def owner_lock_path(path: str, owner_id: str) -> str:
    """The lock file of an owner, beside the database."""
    return f"{path}-owner-{owner_id}"


def close(opened: OpenConnection) -> None:
    """Close a connection, and leave the "-wal" where an owner uses the database.

    Call it after this process's own lock file was released, if it has one.
    """
    path, connection, identity = opened
    if not _has_living_owner(path):
        _close(connection)
        spare = _spare.pop((os.getpid(), identity), None)
        if spare is not None:
            _close(spare)
    elif sys.version_info >= (3, 12):
        with suppress(sqlite3.Error):
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)
        _close(connection)
    else:
        # SQLite deletes no "-wal" while this process has another connection to the file.
        if _spare.setdefault((os.getpid(), identity), connection) is connection:
            _never_free(connection)
            return
        _close(connection)
    unprotect(identity)


def abandon(opened: OpenConnection | None) -> None:
    """Keep a connection open for ever, neither used nor closed.

    A forked child may do neither with its parent's connections. Where the files were replaced,
    closing would delete the "-wal" of the new database, which has the same path
    (https://www.sqlite.org/howtocorrupt.html, sections 2.6 and 4.2).
    """
    if opened is not None:
        _abandoned.append(opened.connection)
        _never_free(opened.connection)


_spare: dict[tuple[int, tuple[int, int]], sqlite3.Connection] = {}
"""Before Python 3.12, one connection for each file that this process left while others used it."""

_abandoned: list[sqlite3.Connection] = []


def _never_free(connection: sqlite3.Connection) -> None:
    """Take a reference that the interpreter's end does not give back. It would close the file."""
    with suppress(ImportError, AttributeError):  # Only CPython counts references.
        import ctypes  # noqa: PLC0415 - not needed in most processes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _close(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        connection.close()


def _has_living_owner(path: str) -> bool:
    """Whether a process holds the lock file of an owner. Files of dead owners are deleted."""
    directory, start = os.path.split(owner_lock_path(path, ""))
    with suppress(OSError), os.scandir(directory) as entries:
        return any(entry.name.startswith(start) and _is_held(entry.path, path) for entry in entries)
    return False


def _is_held(lock_path: str, path: str) -> bool:
    lock = FileLock(lock_path, path)
    try:
        lock.acquire()
    except (RunInProgressError, StorageError):
        return True
    lock.release()
    return False
