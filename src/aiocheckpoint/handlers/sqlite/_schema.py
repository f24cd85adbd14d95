"""The tables of many runs in a SQLite file, their migrations, and the PRAGMAs of a connection.

Every value of a snapshot is bytes that mean the same as in a file. The columns beside them copy
values of the header, for lists and for finding runs. The file is in WAL mode, in which readers and
the writer do not wait for each other. Each commit is flushed to the disk under synchronous=FULL
(https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html).
"""

from __future__ import annotations

import contextlib
import sqlite3

from aiocheckpoint.errors import IncompatibleSnapshotError, StorageError
from aiocheckpoint.handlers.sqlite._errors import retry_while_busy

__all__ = ["APPLICATION_ID", "MIGRATIONS", "set_up"]

APPLICATION_ID = 0x61696F63
"""Marks the file as this library's: "aioc" (https://www.sqlite.org/fileformat.html)."""

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
        # A run id is text, or bytes where it is no valid UTF-8. '' for the run without one.
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
"""The statements from each version of the schema to the next. The first make the tables."""


def set_up(connection: sqlite3.Connection, path: str, *, durable: bool) -> None:
    """Make or migrate the tables, and set the PRAGMAs of a connection.

    Raises:
        StorageError: The file is another program's database.
        IncompatibleSnapshotError: The tables are of a later version of this library.
    """
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
    # Another process may be making the tables: this order sees its one commit whole or not at all.
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
