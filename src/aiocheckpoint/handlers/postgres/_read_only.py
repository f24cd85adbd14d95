"""Reading a database without a write, also as a user with no other right, and on a standby.

Nothing is made: neither the schema nor a table. Each transaction is read-only
(https://www.postgresql.org/docs/current/sql-set-transaction.html).
"""

from __future__ import annotations

import errno
import os
import weakref
from typing import TYPE_CHECKING, Any

from aiocheckpoint.errors import StorageError, StoreUnreachableError
from aiocheckpoint.handlers.postgres._connecting import connect
from aiocheckpoint.handlers.postgres._schema import schemas_of_library, set_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiocheckpoint.handlers.postgres._server_connection import ServerConnection
    from aiocheckpoint.handlers.postgres._url import ServerAddress

__all__ = ["ReadOnlyDatabase"]

_SECONDS_TO_ANSWER = 300.0
"""Sums of millions of runs take long. The kernel finds out sooner that a network is dead."""
_abandoned: list[object] = []
"""Connections of the parent process, in a forked child. psycopg warns of one that is deleted while
it is open."""


class ReadOnlyDatabase:
    """A database that is read over one connection, kept for the next reading until `close`.

    Args:
        address: The server.

    Attributes:
        schema: Name of the schema.
    """

    def __init__(self, address: ServerAddress) -> None:
        self._address = address
        self.schema: str = address.schema
        self._open = _Opened()
        weakref.finalize(self, self._open.close)

    @property
    def has_tables(self) -> bool:
        """Whether the tables are there.

        Raises:
            StorageError: The database cannot be read, or the tables are another program's.
            IncompatibleSnapshotError: They are of a later version of this library.
        """
        return self._open.server(self._address)[1]

    def schemas(self) -> list[str]:
        """Name the schemas of the database that seem to have tables of this library.

        Raises:
            StorageError, IncompatibleSnapshotError: As `has_tables`.
        """
        return schemas_of_library(self._open.server(self._address)[0])

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler stands between."""
        return self._open.server(self._address)[0].is_pooled

    def read(self, statement: str, values: Mapping[str, Any] | None = None) -> list[Any]:
        """Give all rows of a statement.

        Args:
            statement: The statement, with SCHEMA for the name of the schema.
            values: Its values by name.

        Raises:
            StorageError: As `has_tables`. Or there are no tables yet.
            IncompatibleSnapshotError: As `has_tables`.
        """
        is_kept = self._open.is_kept
        try:
            return self._rows(statement, values or {})
        except StoreUnreachableError:
            self.close()
            if not is_kept:
                raise
        # The server, or a pooler, has ended the connection since the last reading.
        return self._rows(statement, values or {})

    def close(self) -> None:
        """Close the connection. The next reading opens another one."""
        self._open.close()

    def _rows(self, statement: str, values: Mapping[str, Any]) -> list[Any]:
        server, has_tables = self._open.server(self._address)
        if not has_tables:
            place = self._address.place
            raise StorageError(place, f"nothing is stored in {place} yet.", errno=errno.ENOENT)
        if not server.is_pooled:
            return server.rows(statement, values)
        with server.transaction():
            return server.rows(statement, values)


class _Opened:
    """The connection, which outlives no fork."""

    def __init__(self) -> None:
        self._found: tuple[ServerConnection, bool] | None = None
        self._pid = 0

    @property
    def is_kept(self) -> bool:
        """Whether a connection is open, of this process."""
        return self._found is not None and self._pid == os.getpid()

    def server(self, address: ServerAddress) -> tuple[ServerConnection, bool]:
        """The connection, and whether there are tables."""
        if self._found is not None and not self.is_kept:
            _abandoned.append(self._found)
            self._found = None
        if self._found is None:
            server = connect(address, writes=False, seconds_to_answer=_SECONDS_TO_ANSWER)
            try:
                self._found = server, set_up(server, writes=False)
            except BaseException:
                server.close()
                raise
            self._pid = os.getpid()
        return self._found

    def close(self) -> None:
        """Close it."""
        if self._found is not None and self.is_kept:
            self._found[0].close()
            self._found = None
