"""Connections to the SQLite file of many runs, and the identity of that file."""

from __future__ import annotations

import os
import sqlite3

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._files.fsync import flush_directory
from aiocheckpoint.handlers._files.replace import make_directory
from aiocheckpoint.handlers.sqlite._errors import PATIENCE_SECONDS, translate_error
from aiocheckpoint.handlers.sqlite._file_checks import check_links, check_writable, mend_modes
from aiocheckpoint.handlers.sqlite._schema import set_up

__all__ = ["abandon_connection", "connect", "file_identity"]

_OLDEST_SQLITE = (3, 33, 0)  # the first with UPDATE FROM
_MODE = 0o600


def connect(path: str, *, durable: bool, writable: bool = False) -> sqlite3.Connection:
    """Open the file at `path`, made if it is missing, with the tables that this version knows.

    Args:
        path: The absolute path.
        durable: Whether each commit waits for the disk.
        writable: Whether to refuse a file that this user may only read.

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
    check_links(path)
    if writable:
        check_writable(path)
    mend_modes(path)
    try:
        connection = sqlite3.connect(
            path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            set_up(connection, path, durable=durable)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise translate_error(error, path, "opening") from error
    finally:
        mend_modes(path)  # SQLite may have made the files beside it just now.
    return connection


def _create(path: str) -> None:
    """Make an empty file readable by its user alone. SQLite copies the mode to its other files."""
    if os.path.exists(path):
        return
    make_directory(path)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), _MODE))
        flush_directory(os.path.dirname(path))
    except OSError as error:
        raise StorageError.of(path, "making", error) from error


def abandon_connection(connection: sqlite3.Connection | None) -> None:
    """Keep a reference to a connection inherited through a fork, neither used nor closed.

    SQLite allows neither (https://www.sqlite.org/howtocorrupt.html, section 2.6).
    """
    _LEFT_BY_PARENT.append(connection)


_LEFT_BY_PARENT: list[sqlite3.Connection | None] = []


def file_identity(path: str) -> tuple[int, int] | None:
    """Device and inode of the file at a path. None where there is none.

    Raises:
        StorageError: The system refuses the look.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError.of(path, "looking at", error) from error
    return status.st_dev, status.st_ino
