"""The tables of many runs in a SQLite file, their migrations, and the PRAGMAs of a connection.

Every value of a snapshot is bytes that mean the same as in a file. The columns beside them copy
values of the header, for lists and for finding runs. The file is in WAL mode, in which readers and
the writer do not wait for each other. Each commit is flushed to the disk under synchronous=FULL
(https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html).
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

from aiocheckpoint.errors import IncompatibleSnapshotError
from aiocheckpoint.handlers.sqlite._errors import foreign_database, retry_while_busy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["ADDITIONS", "APPLICATION_ID", "DUE", "MIGRATIONS", "has_starts", "set_up"]

APPLICATION_ID = 0x61696F63
"""Marks the file as this library's: "aioc" (https://www.sqlite.org/fileformat.html)."""

_LOWEST = -(1 << 63)
"""The number of which SQLite's `abs` is an error (https://www.sqlite.org/lang_corefunc.html)."""
_PAGES_BETWEEN_CHECKPOINTS = 4000
_MOST_WAL_BYTES = 1 << 24
"""The "-wal" is cut to this length when it begins anew. A long reader makes it grow without limit.
A "-wal" between two checkpoints has about as many bytes, so that none is cut without a reason."""

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

DUE = "(CASE WHEN due_claim = claimed_at THEN due END)"
"""The time from which recovery may take a run, see `due_column`. NULL where 0.5 has claimed the run
since, as it leaves both columns as they are."""

ADDITIONS: dict[str, str] = {
    "runs_by_status": "CREATE INDEX runs_by_status ON runs (flow, status)",
    # A run that begins, is stored at each step and finishes under one owner is never in it.
    "runs_due": (
        f"CREATE INDEX runs_due ON runs (flow, status, {DUE}, started_at, run_id) "
        "WHERE owner IS NULL AND status <> 'finished'"
    ),
    # A table of its own, since 0.5 reads all columns of `owners` by their places.
    "draining_owners": "CREATE TABLE draining_owners (id TEXT PRIMARY KEY)",
    # Without the owner, so that a claim does not change it.
    "runs_ending": "CREATE INDEX runs_ending ON runs (ending) WHERE ending IS NOT NULL",
    # A table of its own, so that a step without a cursor writes nothing of it.
    "progress": (
        "CREATE TABLE progress (run INTEGER PRIMARY KEY, token INTEGER NOT NULL, "
        "record BLOB NOT NULL)"
    ),
}
"""Indexes and tables, by name, that the present version of the tables got later. A process of an
earlier release works with them, because SQLite keeps them, so that the version stays the same."""

_COLUMNS: dict[tuple[str, str], str] = {
    ("runs", "start"): "TEXT",
    ("runs", "lost"): "TEXT",
    ("runs", "stopped_by"): "TEXT",
    ("runs", "due"): "REAL",
    ("runs", "due_claim"): "REAL",
    ("runs", "ending"): "TEXT",
}
"""Columns, by table and name, that came later as the indexes did. `start` is a `StartRecord`.
`lost` says what became of an owner that has recorded no end, and is a `Loss`. `due` holds for the
claim whose `claimed_at` is in `due_claim`, and is for the index alone: the header decides. `ending`
is the reason for which the run is to be terminated, see `_ending_column`."""


def set_up(
    connection: sqlite3.Connection, path: str, *, durable: bool, writable: bool = False
) -> None:
    """Make or migrate the tables, and set the PRAGMAs of a connection.

    Args:
        connection: The connection.
        path: The absolute path.
        durable: Whether each commit waits for the disk.
        writable: Whether the connection is to write. It then adds missing columns and indexes.

    Raises:
        StorageError: The file is another program's database.
        IncompatibleSnapshotError: The tables are of a later version of this library.
    """
    is_new = _version(connection, path) < len(MIGRATIONS)
    if is_new:
        retry_while_busy(lambda: connection.execute("PRAGMA journal_mode = WAL"))
    if is_new or writable:
        _make_tables(connection, path)
    if is_new:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # A copy of the file has the tables.
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_BETWEEN_CHECKPOINTS}")
    connection.execute(f"PRAGMA journal_size_limit = {_MOST_WAL_BYTES}")


def _make_tables(connection: sqlite3.Connection, path: str) -> None:
    """Make the tables, and what they lack, unless another process is faster."""
    while True:
        seen = _number(connection, "PRAGMA schema_version")
        statements = _due(connection, path)
        if not statements:
            return
        try:
            retry_while_busy(lambda: _execute_at_once(connection, seen, statements))  # noqa: B023
        except sqlite3.Error:
            if _number(connection, "PRAGMA schema_version") == seen:
                raise


def _execute_at_once(connection: sqlite3.Connection, seen: int, statements: list[str]) -> None:
    """Execute statements in one transaction, if the schema has the version seen before.

    It is one call of C. A finalizer or signal handler that comes between two calls may wait for the
    writer thread, and that thread for the transaction.
    """
    check = f"SELECT abs({_LOWEST}) FROM pragma_schema_version WHERE schema_version <> {seen}"  # noqa: S608
    try:
        connection.executescript(";\n".join(("BEGIN IMMEDIATE", check, *statements, "COMMIT;")))
    finally:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")


def _due(connection: sqlite3.Connection, path: str) -> list[str]:
    """The statements that the database lacks."""
    version = _version(connection, path)
    tables = [statement for migration in MIGRATIONS[version:] for statement in migration]
    missing = _missing(connection)
    if not tables:
        return missing
    marks = f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {len(MIGRATIONS)}"
    return [*tables, *missing, *marks]


def _missing(connection: sqlite3.Connection) -> list[str]:
    """The statements of the additions that the database lacks. An index needs its columns."""
    found = connection.execute("SELECT name FROM sqlite_master").fetchall()
    made = [statement for name, statement in ADDITIONS.items() if (name,) not in found]
    columns = _columns(connection.execute)
    added = [
        f"ALTER TABLE {table} ADD COLUMN {name} {kind}"
        for (table, name), kind in _COLUMNS.items()
        if (table, name) not in columns
    ]
    return added + made


def has_starts(execute: Callable[[str], Iterable[Any]]) -> bool:
    """Whether the tables have the columns of starts: a later process than 0.5 has written them.

    Args:
        execute: Gives the rows of a statement.
    """
    if not _COLUMNS.keys() <= _columns(execute):
        return False
    return any(name == "draining_owners" for (name,) in execute("SELECT name FROM sqlite_master"))


def _columns(execute: Callable[[str], Iterable[Any]]) -> set[tuple[str, str]]:
    return {("runs", name) for _, name, *_ in execute("PRAGMA table_info(runs)")}


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
        raise foreign_database(path)
    return 0


def _number(connection: sqlite3.Connection, statement: str) -> int:
    return int(retry_while_busy(lambda: connection.execute(statement)).fetchone()[0])
