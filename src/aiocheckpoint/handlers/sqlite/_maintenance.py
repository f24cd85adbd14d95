"""A database as a whole: copying it while it is in use, and giving its free space back."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers._files.backup_target import check_vacant, nothing_to_copy
from aiocheckpoint.handlers._files.databases import file_identity
from aiocheckpoint.handlers._files.replace import make_directory
from aiocheckpoint.handlers._files.replacement import Replacement
from aiocheckpoint.handlers.sqlite._errors import is_busy, translate_error
from aiocheckpoint.handlers.sqlite._read_only import ReadOnlyDatabase
from aiocheckpoint.handlers.sqlite._schema import set_up

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiocheckpoint.handlers.sqlite._database import Database

__all__ = ["back_up", "compact"]

_MODE = 0o600
_SECONDS_FOR_OTHERS = 10.0
"""How long other connections may keep a database from being made smaller."""

_WITHOUT_OWNERS = (
    "DELETE FROM runs WHERE owner IS NOT NULL AND status IS NULL",
    "UPDATE runs SET owner = NULL, token = 0 WHERE owner IS NOT NULL",
    "DELETE FROM owners",
    "DELETE FROM draining_owners",
)
"""The processes that own runs own none in a copy, where their lock files are missing."""


def back_up(source: str, target: str) -> None:
    """Copy a database into a new file: one moment of all runs.

    SQLite copies all pages under one read transaction, for which no writer waits
    (https://www.sqlite.org/backup.html). The database is opened for reading alone.

    Args:
        source: The absolute path of the database.
        target: The absolute path of the copy, where nothing is.

    Raises:
        StorageError: There is no database, something is at `target`, or the disk refuses.
    """
    if file_identity(source) is None:
        raise nothing_to_copy(source)
    check_vacant(target)
    make_directory(target)
    replacement = Replacement(target)
    try:
        _copy(source, replacement.temporary, target)
        check_vacant(target)
    except BaseException:
        for end in ("", "-wal", "-shm"):
            _delete(replacement.temporary + end)
        raise
    replacement.commit()


def _copy(source: str, temporary: str, target: str) -> None:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    try:
        os.close(os.open(temporary, flags, _MODE))
    except OSError as error:
        raise StorageError.of(target, "copying a database to", error) from error
    with ReadOnlyDatabase(source) as database:
        database.read(partial(_copy_pages, temporary, target))


def _copy_pages(temporary: str, target: str, connection: sqlite3.Connection) -> None:
    try:
        with closing(sqlite3.connect(temporary, isolation_level=None)) as copy:
            copy.execute("PRAGMA synchronous = OFF")  # The whole file is flushed at the end.
            connection.backup(copy)
            set_up(copy, temporary, durable=False, writable=True)  # An older one has fewer tables.
            for statement in _WITHOUT_OWNERS:
                copy.execute(statement)
            copy.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as error:
        raise translate_error(error, target, "copying a database to") from error


def _delete(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def compact(database: Database, path: str) -> int:
    """Give the free pages of a database, and its "-wal", back to the file system.

    VACUUM writes all pages anew, in one transaction, for which other writers wait
    (https://www.sqlite.org/lang_vacuum.html). Ids of rows stay, because they are declared as keys.

    Args:
        database: The database.
        path: Its absolute path.

    Returns:
        The bytes by which the file and the "-wal" are smaller.

    Raises:
        StorageError: Another connection reads or writes for too long. The runs are as they were.
    """
    if file_identity(path) is None:
        return 0
    before = _size(path)
    with database.reading() as connection, _impatient(connection):
        try:
            (free,) = connection.execute("PRAGMA freelist_count").fetchone()
            if free:
                connection.execute("VACUUM")
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            if is_busy(error):
                raise _in_use(path) from error
            raise translate_error(error, path, "compacting") from error
    if busy:
        raise _in_use(path)
    return max(0, before - _size(path))


@contextmanager
def _impatient(connection: sqlite3.Connection) -> Generator[None, None, None]:
    """Let a connection wait less long for others, for the time of a `with` block."""
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {round(_SECONDS_FOR_OTHERS * 1000)}")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}")


def _size(path: str) -> int:
    size = 0
    for file in (path, f"{path}-wal"):
        if os.path.exists(file):
            size += os.stat(file).st_size
    return size


def _in_use(path: str) -> StorageError:
    return StorageError(
        path,
        f"{path} and its '-wal' were not made as small as they can be: another program read or "
        f"wrote the database for longer than {_SECONDS_FOR_OTHERS:.0f} s. No run was changed. Find "
        f"it with 'fuser {path}', and call compact() again when it is done.",
        errno=errno.EBUSY,
    )
