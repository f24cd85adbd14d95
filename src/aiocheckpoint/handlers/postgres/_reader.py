"""The reader of a database for displays, on a connection of its own."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from aiocheckpoint.handlers._index_reader import IndexReader
from aiocheckpoint.handlers.postgres._index_rows import PostgresRows
from aiocheckpoint.handlers.postgres._read_only import ReadOnlyDatabase

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from aiocheckpoint._snapshot.signing import Secrets
    from aiocheckpoint.handlers._whole_store import WholeStorePort
    from aiocheckpoint.handlers.postgres._url import ServerAddress

__all__ = ["PostgresReader"]


class PostgresReader(IndexReader):
    """Reads a database over one connection, which is closed with the reader.

    Args:
        handler: The handler of the database.
        address: The server.
        secret: As for `StoreReader`.

    Attributes:
        database: The connection.
    """

    def __init__(
        self,
        handler: WholeStorePort,
        address: ServerAddress,
        secret: Secrets | None = None,
    ) -> None:
        super().__init__(handler, secret)
        self._address = address
        self.shown_place: str | None = address.place
        self.database: ReadOnlyDatabase = ReadOnlyDatabase(address)

    @property
    def place(self) -> str:
        """Host, port, database and schema."""
        return self._address.place

    @property
    def is_there(self) -> bool:
        """Whether the tables were made."""
        return self.database.has_tables

    def exists(self) -> bool:
        """Whether the tables were made."""
        return self.is_there

    def rows(self) -> AbstractContextManager[PostgresRows]:
        """The rows. The connection is opened by the first reading, and kept."""
        return nullcontext(PostgresRows(self.database.read))

    def close(self) -> None:
        """Close the connection. The next reading opens another one."""
        super().close()
        self.database.close()
