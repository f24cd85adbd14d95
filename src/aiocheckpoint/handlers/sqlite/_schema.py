"""The SQLite file of many runs: its tables, how it is opened, and what its errors mean.

Every value of a snapshot is bytes that mean the same as in a file; the columns beside them are
copies of what the header says, for lists and for finding runs. The file is in WAL mode, in which
readers and the writer do not wait for each other, and each commit is flushed to the disk under
synchronous=FULL (https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any, TypeVar

from aiocheckpoint.errors import CheckpointError, IncompatibleSnapshotError, StorageError
from aiocheckpoint.handlers._files.fsync import flush_directory
from aiocheckpoint.handlers._files.replace import make_directory

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "LARGEST_BYTES",
    "MIGRATIONS",
    "abandon_connection",
    "connect",
    "file_identity",
    "retry_while_busy",
    "translate_error",
]

_Result = TypeVar("_Result")

APPLICATION_ID = 0x61696F63
"""Says in the file's header whose it is: "aioc" (https://www.sqlite.org/fileformat.html)."""

LARGEST_BYTES = 900_000_000
"""SQLite takes values of up to 1,000,000,000 bytes (https://www.sqlite.org/limits.html)."""

PATIENCE_SECONDS = 120.0
"""How long other processes may keep the file before it counts as out of reach."""

_PAUSE_SECONDS = 0.01
_OLDEST_SQLITE = (3, 33, 0)  # the first with UPDATE FROM
_MODE = 0o600
_PAGES_BETWEEN_CHECKPOINTS = 4000

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE owners (
            id TEXT PRIMARY KEY,
            host TEXT NOT NULL,
            boot TEXT NOT NULL,
            pid INTEGER NOT NULL,
            since TEXT NOT NULL,
            beat INTEGER NOT NULL,
            expires REAL NOT NULL,
            lease REAL NOT NULL
        )""",
        # A run id is text, or bytes where it is no valid UTF-8; '' for the run without one.
        """CREATE TABLE runs (
            id INTEGER PRIMARY KEY,
            flow TEXT NOT NULL,
            run_id NOT NULL,
            owner TEXT,
            token INTEGER NOT NULL,
            claimed_at REAL NOT NULL,
            status TEXT,
            number INTEGER,
            sequence INTEGER,
            position INTEGER,
            step TEXT,
            started_at REAL,
            written_at REAL,
            footer BLOB,
            payload BLOB,
            UNIQUE (flow, run_id)
        )""",
        "CREATE INDEX runs_by_start ON runs (flow, started_at, run_id)",
        """CREATE INDEX runs_unfinished ON runs (flow, started_at, run_id)
            WHERE status <> 'finished'""",
        "CREATE INDEX runs_by_owner ON runs (owner) WHERE owner IS NOT NULL",
        """CREATE TABLE kept (
            run INTEGER NOT NULL,
            number INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            footer BLOB NOT NULL,
            payload BLOB NOT NULL,
            PRIMARY KEY (run, number, sequence)
        ) WITHOUT ROWID""",
    ),
)
"""The statements that lead from each version of the schema to the next; the first makes it."""

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
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def connect(path: str, *, durable: bool) -> sqlite3.Connection:
    """Open the file at `path`, made if it is missing, with the tables that this version knows.

    Args:
        path: The absolute path.
        durable: Whether each commit waits for the disk.

    Returns:
        A connection in autocommit mode, that any thread may use, one at a time.

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
        connection = sqlite3.connect(
            path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _set_up(connection, path, durable=durable)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise translate_error(error, path, "opening") from error
    return connection


def _create(path: str) -> None:
    """Make an empty file that only its owner may read, as the files beside it will be."""
    if os.path.exists(path):
        return
    make_directory(path)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), _MODE))
        flush_directory(os.path.dirname(path))
    except OSError as error:
        raise StorageError.of(path, "making", error) from error


def abandon_connection(connection: sqlite3.Connection | None) -> None:
    """Keep a connection that came along with a fork from being used or closed, for ever.

    It must be neither (https://www.sqlite.org/howtocorrupt.html, section 2.6).
    """
    _LEFT_BY_PARENT.append(connection)


_LEFT_BY_PARENT: list[sqlite3.Connection | None] = []


def file_identity(path: str) -> tuple[int, int] | None:
    """Which file lies at a path; None where there is none.

    Raises:
        StorageError: The system does not tell.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError.of(path, "looking at", error) from error
    return found.st_dev, found.st_ino


def _set_up(connection: sqlite3.Connection, path: str, *, durable: bool) -> None:
    if _version(connection, path) < len(MIGRATIONS):
        retry_while_busy(lambda: connection.execute("PRAGMA journal_mode = WAL"))
        retry_while_busy(lambda: _migrate(connection, path))
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_BETWEEN_CHECKPOINTS}")


def _migrate(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        for migration in MIGRATIONS[_version(connection, path) :]:
            for statement in migration:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, path: str) -> int:
    """The version of the tables, 0 for an empty file."""
    # Another process may be making the tables: what it commits together is seen here in this order.
    tables = _number(connection, "SELECT count(*) FROM sqlite_master")
    other = _number(connection, "PRAGMA user_version")
    owner = _number(connection, "PRAGMA application_id")
    if owner == APPLICATION_ID:
        version = _number(connection, "PRAGMA user_version")
        if version > len(MIGRATIONS):
            reason = (
                f"its tables are of version {version}, and this library knows {len(MIGRATIONS)}; "
                "install a later release"
            )
            raise IncompatibleSnapshotError(path, reason)
        return version
    if owner or other or tables:
        raise StorageError(
            path,
            f"{path} is the database of another program, and was left as it is; choose another "
            "path.",
        )
    return 0


def _number(connection: sqlite3.Connection, statement: str) -> int:
    return int(retry_while_busy(lambda: connection.execute(statement)).fetchone()[0])


def retry_while_busy(work: Callable[[], _Result]) -> _Result:
    """Do `work`, again where other processes are in the way, which SQLite does not wait for always.

    Raises:
        sqlite3.Error: Whatever else it raises, or the same for too long.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not _is_crowded(error) or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_SECONDS)


def _is_crowded(error: sqlite3.Error) -> bool:
    """Whether another connection was in the way."""
    return _primary(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def translate_error(error: sqlite3.Error, path: str, doing: str) -> CheckpointError:
    """Give the error of ours for one of SQLite's, met while `doing` something (a gerund)."""
    code = _primary(error)
    if code in _DAMAGED:
        return StorageError(
            path,
            f"{doing} {path} failed: it is no SQLite database, or a damaged one ({error}). Choose "
            "another path, or restore the file from a copy.",
        )
    advice = "Make the place usable (does it exist, is it writable, is there space?) and run again."
    if _is_crowded(error):
        advice = f"Other processes kept it locked for {PATIENCE_SECONDS:.0f} s; run again."
    number = _ERRNOS.get(code)
    if number == errno.ENOENT and os.path.exists(path):
        number = None  # SQLite says the same of files beside it that cannot be made
    return StorageError(path, f"{doing} {path} failed: {error}. {advice}", errno=number)


def _primary(error: sqlite3.Error) -> int:
    """The primary result code (https://www.sqlite.org/rescode.html), 0 where there is none."""
    code: Any = getattr(error, "sqlite_errorcode", None)
    return 0 if code is None else int(code) & 0xFF
