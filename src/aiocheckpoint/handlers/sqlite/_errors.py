"""Errors of SQLite: the library's error for each, and retries while the file is locked."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any, TypeVar

from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers.sqlite._opening_checks import unwritable_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint.errors import CheckpointError

__all__ = [
    "PATIENCE_SECONDS",
    "foreign_database",
    "is_busy",
    "is_read_only",
    "is_refused",
    "retry_while_busy",
    "translate_error",
]

_Result = TypeVar("_Result")

PATIENCE_SECONDS = 120.0
"""How long other processes may keep the file locked before an error is raised."""

_PAUSE_SECONDS = 0.01

_ERRNOS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.ENOENT,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_AUTH: errno.EACCES,
    sqlite3.SQLITE_BUSY: errno.EBUSY,
    sqlite3.SQLITE_LOCKED: errno.EBUSY,
}
_REFUSED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def foreign_database(path: str) -> StorageError:
    """The error for the database of another program."""
    return StorageError(
        path,
        f"{path} is the database of another program, and was left as it is; choose another path.",
        errno=errno.EBADMSG,
    )


def retry_while_busy(work: Callable[[], _Result]) -> _Result:
    """Call `work` again while the file is locked, since SQLite's own timeout covers only part.

    Raises:
        sqlite3.Error: Any other error, or the same one for `PATIENCE_SECONDS`.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_SECONDS)


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection held a lock."""
    return _primary(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def is_read_only(error: sqlite3.Error) -> bool:
    """Whether the connection may only read. It stays so for as long as it is open."""
    return _primary(error) == sqlite3.SQLITE_READONLY


def is_refused(error: sqlite3.Error) -> bool:
    """Whether this user lacks the right to open the file, or to make files beside it."""
    return _primary(error) in _REFUSED


def translate_error(error: sqlite3.Error, path: str, doing: str) -> CheckpointError:
    """Give the library's error for one of SQLite's, met while `doing` something (a gerund)."""
    code = _primary(error)
    if code in _DAMAGED:
        return StorageError(
            path,
            f"{doing} {path} failed: it is no SQLite database, or a damaged one ({error}). Choose "
            "another path, or restore the file from a copy.",
            damaged=True,
        )
    if code == sqlite3.SQLITE_ERROR:  # "no such table" and the like.
        return StorageError(
            path,
            f"{doing} {path} failed: its tables are not as this library makes them ({error}). "
            "Restore the file from a backup.",
        )
    advice = "Make the path usable (does it exist, is it writable, is there space?) and run again."
    unwritable = unwritable_file(path) if code in _REFUSED else None
    if unwritable is not None:
        advice = f"{unwritable} is read-only for this user: make it writable and run again."
    elif is_busy(error):
        advice = f"Other processes kept it locked for {PATIENCE_SECONDS:.0f} s; run again."
    number = _ERRNOS.get(code)
    if number == errno.ENOENT and os.path.exists(path):
        number = None  # SQLite gives the same code where a file beside it cannot be made.
    return StorageError(path, f"{doing} {path} failed: {error}. {advice}", errno=number)


def _primary(error: sqlite3.Error) -> int:
    """The primary result code (https://www.sqlite.org/rescode.html), 0 where there is none."""
    code: Any = getattr(error, "sqlite_errorcode", None)
    return 0 if code is None else int(code) & 0xFF
