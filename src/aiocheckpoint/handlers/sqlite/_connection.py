"""Opening connections to the SQLite file of many runs."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._files.databases import file_identity
from aiocheckpoint.handlers._files.fsync import flush_directory
from aiocheckpoint.handlers._files.rename import put_in_place
from aiocheckpoint.handlers._files.replace import make_directory
from aiocheckpoint.handlers.sqlite._closing import abandon, close_untouched, has_living_owner
from aiocheckpoint.handlers.sqlite._errors import PATIENCE_SECONDS, translate_error
from aiocheckpoint.handlers.sqlite._open_files import DatabaseFiles, refuse_stale
from aiocheckpoint.handlers.sqlite._opening_checks import check_links, check_writable, mend_modes
from aiocheckpoint.handlers.sqlite._schema import set_up

__all__ = ["OpenDatabase"]

_OLDEST_SQLITE = (3, 33, 0)  # the first with UPDATE FROM
_MODE = 0o600


class OpenDatabase:
    """A connection to a database, and the files that it has open.

    Args:
        path: The absolute path.
        durable: Whether each commit waits for the disk.
        writable: Whether the connection is to write. A file that this user may only read is then
            refused.

    Attributes:
        connection: The connection, in autocommit mode. Any thread may use it, one at a time.
        files: The files.

    Raises:
        StorageError: The file cannot be made or opened, is no database, or another program's.
        IncompatibleSnapshotError: Its tables are of a later version of this library.
    """

    def __init__(self, path: str, *, durable: bool, writable: bool = False) -> None:
        _check_version(path)
        _create(path, durable=durable)
        check_links(path)
        if writable:
            check_writable(path)
        refuse_stale(path)
        self._path = path
        identity = file_identity(path) or (0, 0)  # Of a deleted file, which `check` reports.
        try:
            self.connection: sqlite3.Connection = _connect(path, durable=durable, writable=writable)
        except sqlite3.Error as error:
            raise translate_error(error, path, "opening") from error
        self.files: DatabaseFiles = DatabaseFiles(path, identity)
        try:
            self.files.check()
        except StorageError:
            self.close_untouched()
            raise

    def close(self) -> None:
        """Close the connection, and leave the "-wal" as it is where an owner uses the database.

        This process's own lock file has to be released before.
        """
        if not self.files.is_shared and has_living_owner(self._path):
            self.close_untouched()
        else:
            # First, as closing may delete the files, which `refuse_stale` would take for a fault.
            self.files.unregister()
            self.connection.close()

    def close_untouched(self) -> None:
        """Close the connection, and neither write nor delete a file."""
        close_untouched(self.connection, self._path, self.files.identity)
        self.files.unregister()

    def abandon(self) -> None:
        """Never use or close the connection: it belongs to the parent of a forked child."""
        abandon(self.connection)


def _check_version(path: str) -> None:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        version = sqlite3.sqlite_version
        raise StorageError(
            path,
            f"SQLite {version} of this Python is too old: 3.33 or newer is needed to keep runs "
            f"in {path}. Use another Python, or the handler 'local'.",
        )


def _connect(path: str, *, durable: bool, writable: bool) -> sqlite3.Connection:
    mend_modes(path)
    try:
        connection = sqlite3.connect(
            path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            set_up(connection, path, durable=durable, writable=writable)
        except BaseException:
            if has_living_owner(path):  # Perhaps one of a later version.
                close_untouched(connection, path, file_identity(path) or (0, 0))
            else:
                connection.close()
            raise
    finally:
        mend_modes(path)  # SQLite may have made the files beside it just now.
    return connection


def _create(path: str, *, durable: bool) -> None:
    """Make an empty file readable by its user alone. SQLite copies the mode to its other files.

    The file is closed before it has its name: closing it would drop the locks of another thread's
    connection.
    """
    if os.path.exists(path):
        return
    make_directory(path, fsync=durable)
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{secrets.token_hex(8)}.tmp")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    try:
        os.close(os.open(temporary, flags, _MODE))
        with contextlib.suppress(FileExistsError):  # Another process was faster.
            put_in_place(temporary, path)
        with contextlib.suppress(FileNotFoundError):  # It was renamed.
            os.unlink(temporary)
        if durable:
            flush_directory(directory)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError.of(path, "making", error) from error
