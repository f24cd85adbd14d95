"""The tables of many runs in a schema of a PostgreSQL database, and their migrations.

Texts of users are bytes in UTF-8: PostgreSQL's text takes neither NUL nor lone surrogates
(https://www.postgresql.org/docs/current/datatype-character.html), and a database may have another
encoding than UTF-8. Other texts are ASCII, with the collation "C", because the order of any other
one changes with the system's library and damages an index
(https://wiki.postgresql.org/wiki/Locale_data_changes).

A step changes no column of an index, so that its row stays where it is in each of them (a
"heap-only tuple", https://www.postgresql.org/docs/current/storage-hot.html). The tables leave room
for that. Payloads are stored apart from the row and not compressed, where they are larger than
about 2 kB (https://www.postgresql.org/docs/current/storage-toast.html).
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from aiocheckpoint._logging import NOWHERE, log
from aiocheckpoint.errors import IncompatibleSnapshotError
from aiocheckpoint.handlers.postgres._errors import (
    changed_facts,
    foreign_tables,
    missing_rights,
    translate_error,
)
from aiocheckpoint.handlers.postgres._names import RUN_KEY
from aiocheckpoint.handlers.postgres._server_connection import in_schema

if TYPE_CHECKING:
    from aiocheckpoint.handlers.postgres._server_connection import ServerConnection
    from aiocheckpoint.handlers.postgres._url import ServerAddress

__all__ = ["MIGRATIONS", "TABLES", "Migration", "schemas_of_library", "set_up"]

_PROGRAM = "aiocheckpoint"
_ASCII = 'text COLLATE "C"'


class Migration(NamedTuple):
    """The statements from one level of the tables to the next.

    Attributes:
        statements: The statements, with SCHEMA for the name of the schema.
        needed: Whether a process that does not know the new level can no longer use the tables.
            Never for a column or table with a default: two neighbouring releases share a store.
    """

    statements: tuple[str, ...]
    needed: bool


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        (
            f"""CREATE TABLE SCHEMA.meta (
                name {_ASCII} PRIMARY KEY,
                value {_ASCII} NOT NULL
            )""",
            # A server that stops in any other way than in good order empties it, and so does the
            # promotion of a standby. See `_owners`.
            """CREATE UNLOGGED TABLE SCHEMA.uptime (
                one boolean PRIMARY KEY DEFAULT true CHECK (one),
                since timestamptz NOT NULL DEFAULT clock_timestamp()
            )""",
            f"""CREATE TABLE SCHEMA.owners (
                id {_ASCII} PRIMARY KEY,
                host {_ASCII} NOT NULL,
                boot {_ASCII} NOT NULL,
                pid bigint NOT NULL,
                since {_ASCII} NOT NULL,
                beat bigint NOT NULL,
                lease double precision NOT NULL,
                session {_ASCII},
                beaten timestamptz NOT NULL
            ) WITH (fillfactor = 50)""",
            f"CREATE TABLE SCHEMA.draining_owners (id {_ASCII} PRIMARY KEY)",
            f"""CREATE TABLE SCHEMA.runs (
                id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                flow bytea NOT NULL,
                run_id bytea NOT NULL,
                run_key bytea NOT NULL GENERATED ALWAYS AS ({RUN_KEY}) STORED,
                owner {_ASCII},
                token bigint NOT NULL,
                claimed_at double precision NOT NULL,
                status {_ASCII},
                number bigint,
                sequence bigint,
                position bigint,
                step bytea,
                started_at double precision,
                written_at double precision,
                stopped_by {_ASCII},
                due double precision,
                start {_ASCII},
                lost {_ASCII},
                ending {_ASCII},
                footer bytea,
                payload bytea
            ) WITH (
                fillfactor = 50,
                autovacuum_vacuum_scale_factor = 0.05,
                toast.autovacuum_vacuum_scale_factor = 0.05
            )""",
            "ALTER TABLE SCHEMA.runs ALTER COLUMN payload SET STORAGE EXTERNAL",
            "CREATE UNIQUE INDEX runs_by_key ON SCHEMA.runs (flow, run_key)",
            "CREATE INDEX runs_by_start ON SCHEMA.runs (flow, started_at)",
            """CREATE INDEX runs_unfinished ON SCHEMA.runs (flow, started_at)
                WHERE status <> 'finished'""",
            "CREATE INDEX runs_by_status ON SCHEMA.runs (flow, status)",
            "CREATE INDEX runs_by_owner ON SCHEMA.runs (owner) WHERE owner IS NOT NULL",
            # A run that begins, is stored at each step and finishes under one owner is never in it.
            """CREATE INDEX runs_due ON SCHEMA.runs (flow, status, due, started_at)
                WHERE owner IS NULL AND status <> 'finished'""",
            "CREATE INDEX runs_ending ON SCHEMA.runs (flow) WHERE ending IS NOT NULL",
            """CREATE TABLE SCHEMA.kept (
                run bigint NOT NULL REFERENCES SCHEMA.runs ON DELETE CASCADE,
                number bigint NOT NULL,
                sequence bigint NOT NULL,
                footer bytea NOT NULL,
                payload bytea NOT NULL,
                PRIMARY KEY (run, number, sequence)
            )""",
            "ALTER TABLE SCHEMA.kept ALTER COLUMN payload SET STORAGE EXTERNAL",
            """CREATE TABLE SCHEMA.progress (
                run bigint PRIMARY KEY REFERENCES SCHEMA.runs ON DELETE CASCADE,
                record bytea NOT NULL
            ) WITH (fillfactor = 50)""",
            f"INSERT INTO SCHEMA.meta VALUES ('program', '{_PROGRAM}')",  # noqa: S608
        ),
        needed=True,
    ),
)
"""The first makes the tables."""

TABLES = ("meta", "uptime", "owners", "draining_owners", "runs", "kept", "progress")
"""The names of all tables."""

_LEVEL = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_FACTS = "SELECT name, value FROM SCHEMA.meta"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
_HAS_SCHEMA = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s"
_OF_SCHEMA = (
    "pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace "
    "WHERE nspname = %s"
)
_RELATIONS = f"SELECT relname::text FROM {_OF_SCHEMA} ORDER BY relname"  # noqa: S608 - constants
_COLUMNS_OF_META = (
    "SELECT attname::text FROM pg_catalog.pg_attribute WHERE attnum > 0 AND NOT attisdropped "  # noqa: S608
    f"AND attrelid = (SELECT pg_class.oid FROM {_OF_SCHEMA} AND relname = 'meta') ORDER BY attnum"
)
_SCHEMAS = (
    "SELECT nspname::text FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace "
    "ON pg_namespace.oid = relnamespace WHERE relname = 'draining_owners' AND relkind = 'r' "
    "ORDER BY nspname LIMIT 5"
)
_SET_FACT = (
    "INSERT INTO SCHEMA.meta VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = "
    "excluded.value"
)
_MISSING = psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName
_OTHERS = psycopg.errors.UndefinedColumn, psycopg.errors.InsufficientPrivilege


def set_up(server: ServerConnection, *, writes: bool) -> bool:
    """Make or migrate the tables if need be.

    Args:
        server: The connection.
        writes: Whether missing tables are made.

    Returns:
        Whether there are tables.

    Raises:
        StorageError: The schema has tables of another program, or rights are missing.
        IncompatibleSnapshotError: The tables are of a later version of this library.
    """
    level = _level(server)
    if level >= len(MIGRATIONS) or not writes:
        return level > 0
    try:
        with server.transaction():
            # Another process may be making them.
            server.rows(_LOCK, (f"{_PROGRAM} {server.address.schema}",), doing="preparing")
            level = _found_level(server)
            _migrate(server, level)
    except psycopg.errors.InsufficientPrivilege as error:
        failure = missing_rights(server.address, error)
    except psycopg.Error as error:
        failure = translate_error(error, server.address, "preparing")
    else:
        _log_change(server.address, level)
        return True
    raise failure


def _log_change(address: ServerAddress, level: int) -> None:
    """Log that tables were made or migrated.

    At INFO: the first run of each deploy makes them. A record is enough for a mistyped schema.
    """
    if level < len(MIGRATIONS):
        done = "migrated" if level else "made"
        text = f"{done} the tables of this library in the schema %r of %s"
        log(logging.INFO, NOWHERE, text, address.schema, address.database)


def _level(server: ServerConnection) -> int:
    """The level of the tables, 0 for none. One statement where they are as they should be."""
    failure = None
    try:
        return _checked_level(server, _facts(server))
    except _MISSING + _OTHERS:
        pass
    except psycopg.Error as error:
        failure = translate_error(error, server.address, "reading")
    if failure is None:
        return _found_level(server)
    raise failure


def _found_level(server: ServerConnection) -> int:
    """The level of the tables, 0 for none, found without an error that would end a transaction."""
    schema = server.address.schema
    found = {name for (name,) in server.rows(_RELATIONS, (schema,))}
    ours = sorted(found.intersection(TABLES))
    if not ours:
        return 0
    if [name for (name,) in server.rows(_COLUMNS_OF_META, (schema,))] != ["name", "value"]:
        raise foreign_tables(server.address, ours)
    failure = None
    try:
        return _checked_level(server, _facts(server))
    except psycopg.errors.InsufficientPrivilege as error:
        failure = missing_rights(server.address, error)
    except psycopg.Error as error:
        failure = translate_error(error, server.address, "reading")
    raise failure


def schemas_of_library(server: ServerConnection) -> list[str]:
    """Name the schemas of the database that seem to have tables of this library, at most five."""
    return [name for (name,) in server.rows(_SCHEMAS)]


def _facts(server: ServerConnection) -> dict[str, str]:
    """The rows of the table `meta`. Raises psycopg's errors."""
    statement = in_schema(_FACTS, server.address.schema)
    return dict(server.link.execute(statement, prepare=False).fetchall())


def _checked_level(server: ServerConnection, facts: dict[str, str]) -> int:
    address = server.address
    if facts.get("program") != _PROGRAM:
        raise foreign_tables(address, ["meta"])
    level, needed = _number(address, facts, "level"), _number(address, facts, "needed")
    if needed > len(MIGRATIONS):
        raise IncompatibleSnapshotError(
            address.place,
            f"its tables are of version {needed}, and this library knows {len(MIGRATIONS)}; "
            "install a later release",
        )
    return level


def _number(address: ServerAddress, facts: dict[str, str], name: str) -> int:
    """A number of the table `meta`, which another program may have changed."""
    value = facts.get(name, "")
    if not _LEVEL.fullmatch(value):
        raise changed_facts(address, name)
    return int(value)


def _migrate(server: ServerConnection, level: int) -> None:
    """Execute the statements that the tables lack, in a transaction. Raises psycopg's errors."""
    link, schema = server.link, server.address.schema
    if level >= len(MIGRATIONS):
        return
    if not level and not server.rows(_HAS_SCHEMA, (schema,)):
        link.execute(f'CREATE SCHEMA "{schema}"'.encode(), prepare=False)
    for migration in MIGRATIONS[level:]:
        for statement in migration.statements:
            link.execute(in_schema(statement, schema), prepare=False)
    needed = max(number for number, one in enumerate(MIGRATIONS, 1) if one.needed)
    for name, value in (("level", len(MIGRATIONS)), ("needed", needed)):
        link.execute(in_schema(_SET_FACT, schema), (name, str(value)), prepare=False)
