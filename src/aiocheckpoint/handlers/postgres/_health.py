"""What a server says of itself and of the tables, for a look at what is wrong with them."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint.handlers.leased._ownership import may_live
from aiocheckpoint.handlers.postgres._schema import MIGRATIONS
from aiocheckpoint.handlers.postgres._seen_owners import SEEN_OWNER, seen_owner

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased import SeenOwner
    from aiocheckpoint.handlers.postgres._read_only import ReadOnlyDatabase

__all__ = ["ServerFacts", "TableFacts", "server_facts"]

_INDEX = re.compile(r"CREATE (?:UNIQUE )?INDEX (\w+)")
_INDEXES = frozenset(
    name
    for migration in MIGRATIONS
    for statement in migration.statements
    for name in _INDEX.findall(statement)
)
_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit", "autovacuum")

_LEVEL = "SELECT value FROM SCHEMA.meta WHERE name = 'level'"
_VALUES = (
    "SELECT name, current_setting(name) FROM unnest(%(names)s::text[]) AS name UNION ALL "
    "SELECT 'standby', pg_is_in_recovery()::text"
)
_FOUND_INDEXES = (
    "SELECT relname::text FROM pg_catalog.pg_index JOIN pg_catalog.pg_class ON oid = indexrelid "
    "WHERE indisvalid AND relnamespace = to_regnamespace(quote_ident(%(schema)s))"
)
_TABLES = (
    "SELECT relname::text, relpersistence = 'u', "
    "coalesce('autovacuum_enabled=false' = ANY(reloptions), false), "
    "pg_stat_get_dead_tuples(oid), pg_stat_get_live_tuples(oid) FROM pg_catalog.pg_class "
    "WHERE relkind = 'r' AND relnamespace = to_regnamespace(quote_ident(%(schema)s)) "
    "ORDER BY relname"
)
_OWNERS = f"SELECT {SEEN_OWNER} FROM SCHEMA.owners ORDER BY beaten"  # noqa: S608
_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"


class TableFacts(NamedTuple):
    """A table.

    Attributes:
        name: Its name.
        is_unlogged: Whether a crash of the server empties it.
        is_never_vacuumed: Whether autovacuum is off for it.
        dead, live: Its rows, as the server has counted them.
    """

    name: str
    is_unlogged: bool
    is_never_vacuumed: bool
    dead: int
    live: int


class ServerFacts(NamedTuple):
    """What a server says.

    Attributes:
        schema: Name of the schema.
        level, newest_level: The level of the tables, and the one that this release makes.
        missing_indexes: Names of indexes that are missing, or invalid.
        settings: Settings of the server, by name.
        tables: The tables.
        gone_owners: Owners of runs that are probably gone.
        clock_ahead: Seconds by which the clock of the server is ahead of that of this machine. 0.0
            where the way there and back may explain the difference.
        is_standby: Whether it takes no writes, as it follows another server.
        is_pooled: Whether a pooler stands between.
    """

    schema: str
    level: int
    newest_level: int
    missing_indexes: tuple[str, ...]
    settings: dict[str, str]
    tables: tuple[TableFacts, ...]
    gone_owners: tuple[SeenOwner, ...]
    clock_ahead: float
    is_standby: bool
    is_pooled: bool


def server_facts(database: ReadOnlyDatabase) -> ServerFacts:
    """Ask a server.

    Args:
        database: The database. It has tables.

    Raises:
        StorageError: It cannot be read.
        IncompatibleSnapshotError: Its tables are of a later version of this library.
    """
    schema: dict[str, Any] = {"schema": database.schema}
    ((level,),) = database.read(_LEVEL)
    settings = dict(database.read(_VALUES, {"names": list(_SETTINGS)}))
    indexes = {name for (name,) in database.read(_FOUND_INDEXES, schema)}
    owners = filter(None, map(seen_owner, database.read(_OWNERS)))
    return ServerFacts(
        schema=database.schema,
        level=int(level),
        newest_level=len(MIGRATIONS),
        missing_indexes=tuple(sorted(_INDEXES - indexes)),
        is_standby=settings.pop("standby") == "true",
        settings=settings,
        tables=tuple(map(TableFacts._make, database.read(_TABLES, schema))),
        gone_owners=tuple(owner for owner in owners if not may_live(owner)),
        clock_ahead=_clock_ahead(database),
        is_pooled=database.is_pooled,
    )


def _clock_ahead(database: ReadOnlyDatabase) -> float:
    before = time.time()
    ((there,),) = database.read(_CLOCK)
    after = time.time()
    if before <= there <= after:
        return 0.0
    return float(there - after if there > after else there - before)
