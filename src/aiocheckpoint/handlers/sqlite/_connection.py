"""Opening connections to the SQLite file of many runs."""

from __future__ import annotations

import os
import sqlite3
import threading

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._files.databases import file_identity, protect
from aiocheckpoint.handlers._files.fsync import flush_directory
from aiocheckpoint.handlers._files.replace import make_directory
from aiocheckpoint.handlers.sqlite._closing import OpenConnection, abandon
from aiocheckpoint.handlers.sqlite._errors import PATIENCE_SECONDS, translate_error
from aiocheckpoint.handlers.sqlite._schema import set_up

__all__ = ["connect"]

_OLDEST_SQLITE = (3, 33, 0)  # the first with UPDATE FROM
_MODE = 0o600
_creating = threading.RLock()
"""Held while a file is made: closing it would drop the locks of another thread's connection."""


def connect(path: str, *, durable: bool) -> OpenConnection:
    """Open the file at `path`, made if it is missing, with the tables that this version knows.

    Args:
        path: The absolute path.
        durable: Whether each commit waits for the disk.

    Returns:
        A connection in autocommit mode, usable by any thread, one at a time.

    Raises:
        StorageError: The file cannot be made or opened, is no database, or another program's.
        IncompatibleSnapshotError: Its tables are of a later version of this library.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        version = sqlite3.sqlite_version
        raise StorageError(
            path,
            f"SQLite {version} of this Python is too old: 3.33 or newer is needed to keep runs "
            f"in {path}. Use another Python, or the handler 'local'.",
        )
    _create(path)
    try:
        return _opened(path, durable=durable)
    except sqlite3.Error as error:
        raise translate_error(error, path, "opening") from error


def _opened(path: str, *, durable: bool) -> OpenConnection:
    identity = file_identity(path)
    connection = sqlite3.connect(
        path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        set_up(connection, path, durable=durable)
    except BaseException:
        connection.close()
        raise
    if identity is None or identity != file_identity(path):
        abandon(OpenConnection(path, connection, (0, 0)))
        raise StorageError(path, f"{path} was deleted or replaced while it was opened. Run again.")
    protect(identity)
    return OpenConnection(path, connection, identity)


def _create(path: str) -> None:
    """Make an empty file readable by its user alone. SQLite copies the mode to its other files."""
    with _creating:
        if os.path.exists(path):
            return
        make_directory(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        try:
            os.close(os.open(path, flags, _MODE))
            flush_directory(os.path.dirname(path))
        except FileExistsError:
            pass  # Another process was faster.
        except OSError as error:
            raise StorageError.of(path, "making", error) from error
