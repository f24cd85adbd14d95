"""The handler for the snapshots of many runs in a PostgreSQL database.

`CheckpointFlow("postgresql://...")` makes it. Only then this module is imported, and psycopg.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from aiocheckpoint._model.checks import checked_count
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import InvalidValueError
from aiocheckpoint.handlers._identifiers import checked_path, checked_run_id
from aiocheckpoint.handlers._leases import LEASE_SECONDS
from aiocheckpoint.handlers._urls import flow_name
from aiocheckpoint.handlers.leased import LeasedStateHandler
from aiocheckpoint.handlers.leased._handler import PATIENCE_SECONDS, checked_patience
from aiocheckpoint.handlers.postgres._names import DEFAULT_SCHEMA, stored_bytes
from aiocheckpoint.handlers.postgres._reader import PostgresReader
from aiocheckpoint.handlers.postgres._run_store import PostgresRunStore
from aiocheckpoint.handlers.postgres._step_pool import StepConnectionPool
from aiocheckpoint.handlers.postgres._store import PostgresStore
from aiocheckpoint.handlers.postgres._url import OPTION_OF_URL, is_libpq_option, parse_url

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._snapshot.signing import Secrets
    from aiocheckpoint.handlers._found_snapshots import FoundSnapshot
    from aiocheckpoint.handlers._options import SnapshotOptions
    from aiocheckpoint.handlers._retention import Keep
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["PostgresStateHandler"]

_LONGEST_FLOW = 1000
_CONNECTIONS = 10


class PostgresStateHandler(LeasedStateHandler):
    """Keeps the snapshots of many runs in a PostgreSQL database, for services of many machines.

    Any number of processes and machines may use the database. Writes go by group commit: one
    statement for all steps that wait, one for all runs that begin or end, and one for all claims.
    One connection of each process writes. Others read, and are made as they are needed.

    Each run has one owner, which holds a lease. A run whose process was killed is free about half a
    second later, as the server sees the end of its session. Behind a pooler nobody sees that, so
    the run is free after `lease` seconds without a heartbeat. A server that was down makes nobody
    lose a run: askers count only the time in which the owner could have stored a heartbeat.

    The tables are made by the first process, if its user may do so. docs/postgres.md has the SQL
    for an administrator, and says what poolers, failovers and backups need.

    Args:
        path: The URL: "postgresql://user@host:5432/database", with any option of libpq, such as
            `?sslmode=verify-full`
            (https://www.postgresql.org/docs/current/libpq-connect.html). Passwords belong into a
            password file or into PGPASSWORD. `?schema=` means the same as `schema=`.
        keep: How many snapshots of each run are kept, the newest included. "all" keeps every
            snapshot of the last run. See `LocalStateHandler`.
        lease: Seconds without a heartbeat after which other processes take the runs of this one.
            An owner beats three times in it.
        patience: Seconds for which a claim, a snapshot or a list waits while the server is out of
            reach: down, starting, read-only, without a free connection, or cut off.
        schema: The schema of the tables, by default "aiocheckpoint".
        connections: How many attempts at steps have a `current_step().connection()` at once. Each
            is a connection of its own, beside those of the library, and stays open for others.
        flow: Name of the flow, by default the name of the database. Flows of several names may
            share a schema.
        options: `secret=`, `allow=` and `verify=`, see `SnapshotOptions`.

    Attributes:
        path: The URL given. It may hold a password, which `repr` does not show.
        keep: How many snapshots of each run are kept.
        lease: Length of a lease in seconds.
        patience: The seconds of patience.
        schema: The schema of the tables.
        connections: How many attempts have a connection at once.
        flow: Name of the flow.
        key_ids: Ids of the secrets, as `Header.signed_by` has them.

    Raises:
        InvalidTypeError: `path` is no text, or an option is of another type.
        InvalidValueError: `path` is no URL of a database, an option is invalid, or the name of the
            flow has more than 1,000 bytes in UTF-8.
    """

    _shown_options = (
        *LeasedStateHandler._shown_options,  # noqa: SLF001
        ("schema", DEFAULT_SCHEMA),
        ("connections", _CONNECTIONS),
    )
    _store: PostgresStore

    @front_door
    def __init__(
        self,
        path: str,
        *,
        keep: Keep = 1,
        lease: float = LEASE_SECONDS,
        patience: float = PATIENCE_SECONDS,
        schema: str | None = None,
        connections: int = _CONNECTIONS,
        flow: str | None = None,
        **options: Unpack[SnapshotOptions],
    ) -> None:
        url = checked_path(path)
        address = parse_url(url, schema)
        super().__init__(
            PostgresStore.of(address, checked_patience(patience)),
            keep=keep,
            lease=lease,
            patience=patience,
            flow=_checked_flow(flow_name(url) if flow is None else flow),
            **options,
        )
        self.path: str | os.PathLike[str] | None = path
        self.schema: str = address.schema
        self._address = address
        self.connections: int = checked_count(
            "connections=", connections, "a number of connections for steps"
        )
        self._made_step_pool: StepConnectionPool | None = None

    @classmethod
    def _option_hint(cls, option: str) -> str:
        return f" {OPTION_OF_URL}" if is_libpq_option(option) else ""

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the place and the options, and no connection of steps either."""
        return {**super().__getstate__(), "_made_step_pool": None}

    def reader(self, secret: Secrets | None = None) -> PostgresReader:
        """Make the reader of the database, on a connection of its own for reading alone."""
        return PostgresReader(self, self._address, secret)

    def exists(self) -> bool:
        """Whether the tables were made.

        Raises:
            StorageError: The database cannot be read, or the tables are another program's.
            IncompatibleSnapshotError: They are of a later version of this library.
        """
        with self.reader() as reader:
            return reader.exists()

    @front_door
    def compact(self) -> int:
        """Give no space back: the server does so, by autovacuum.

        Raises:
            InvalidValueError: Always. It names the statements of the server.
        """
        raise InvalidValueError(
            f"{self._address.place} is compacted by its server: autovacuum makes the space of "
            f'deleted runs free for others. VACUUM (FULL) "{self.schema}".runs gives it back to '
            "the disk, and blocks all runs meanwhile."
        )

    def missing_words(self) -> str:
        """Say which schemas of the database have such tables, as one may be mistyped."""
        with self.reader() as reader:
            others = reader.database.schemas()
        known = f" Such tables are in: {', '.join(map(repr, others))}." if others else ""
        return (
            f"No run has made tables in the schema {self.schema!r}.{known} "
            "Is it the URL that the flow was given, with the same schema=?"
        )

    @front_door
    def backup(self, path: str | os.PathLike[str]) -> None:
        """Make no copy: the tools of the server do so, also while it is in use.

        Raises:
            InvalidValueError: Always. It names the tool.
        """
        del path
        raise InvalidValueError(
            f"{self._address.place} is copied by the tools of its server: pg_dump "
            f"--schema={self.schema} copies the tables, also while they are in use, and "
            "pg_restore brings them back."
        )

    def find_snapshots(self, run_id: str | None) -> Iterator[FoundSnapshot]:
        """Find a run by a connection for reading alone. See `StateHandler.find_snapshots`."""
        return self.reader().snapshots_of_run(self.flow, checked_run_id(run_id))

    def find_all_snapshots(self) -> Iterator[FoundSnapshot]:
        """Find all runs by a connection for reading alone."""
        return self.reader().snapshots_of_flow(self.flow)

    def run_store(self, run_id: str | None, backend: Backend) -> RunStore:
        """Make the run store of a run, which the engine uses."""
        return PostgresRunStore(self, self._store, run_id, backend, self._step_pool)

    def _step_pool(self) -> StepConnectionPool:
        """The connections for transactions of steps, made for the first one."""
        if self._made_step_pool is None:
            patience = self._client.patience
            self._made_step_pool = StepConnectionPool(self._store, self.connections, patience)
        return self._made_step_pool

    @front_door
    def close(self) -> None:
        """Release the leases of all runs in progress, and close the connections.

        Connections of steps in progress are closed behind their steps. The next use connects anew.
        All handlers of one database share its other connections.
        """
        super().close()
        self._close_step_pool()

    def close_unused(self) -> None:
        """Close all as `close` does, unless this process runs a run that is stored there."""
        super().close_unused()
        self._close_step_pool()

    def _close_step_pool(self) -> None:
        if self._made_step_pool is not None:
            self._made_step_pool.close()


def _checked_flow(flow: str) -> str:
    """Give the name of a flow back, which is a part of an entry in an index."""
    size = len(stored_bytes(flow))
    if size > _LONGEST_FLOW:
        raise InvalidValueError(
            f"the name of a flow has {size} bytes in UTF-8, and may have {_LONGEST_FLOW} in "
            "PostgreSQL."
        )
    return flow
